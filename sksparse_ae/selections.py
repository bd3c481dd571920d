"""Keras layers that keep the largest activations, for sparse autoencoders of any kind.

They are what `sparsity="topk"`, `"batchtopk"` and `"lifetime"` of
:class:`~sksparse_ae.SparseAutoencoderTransformer` mean, on every version of Keras 3.
"""

import keras
from keras import ops

from ._objective.selections import SELECTIONS, largest
from ._utils.options import number

__all__ = ["BatchTopKSparsity", "LifetimeSparsity", "TopKSparsity"]

# The threshold is the mean over so many of the first batches; a later one has the share
# of one in as many.
_AVERAGED_BATCHES = 100

_DOCUMENTATION = """Layer that keeps {kept}.

    In training, {rule}. The others become 0, and no gradient passes through them.
    In inference the codes of a sample do not depend on other samples: activations below
    a fixed threshold become 0. Training averages the threshold{of} that gives the share
    rho in each batch, over the first hundred batches alike, so that it is of use after
    a single step. `to_keras` sets it to the `threshold_` of the fit.

    Parameters
    ----------
    rho : float, default=0.05
        Share of the activations that stays, in (0, 1).

    **kwargs : dict
        Arguments of `keras.layers.Layer`, such as `name`.

    Attributes
    ----------
    threshold : keras.Variable of shape {shape}
        Least activation that stays in inference, in float32; saved with the model.

    Raises
    ------
    ValueError
        If `rho` is outside its range; when called, if the activations are not of shape
        (n_samples, n_units).

    See Also
    --------
    {others}
    sksparse_ae.SparseAutoencoderTransformer.to_keras : A model with this layer.

    Notes
    -----
    Put it behind units of 0 or more, such as those with `activation="relu"`: negative
    activations never stay. Where several are equal to the threshold, all of them do.

    References
    ----------
    .. [1] {reference}

    Examples
    --------
    >>> import numpy as np
    >>> from sksparse_ae.selections import {name}
    >>> layer = {name}(rho=0.5)
    >>> activations = np.array([[1.0, 3.0, 2.0, 4.0], [8.0, 5.0, 7.0, 6.0]])
    >>> np.asarray(layer(activations, training=True)).tolist()
    {example}
    """


class _SelectionLayer(keras.layers.Layer):
    _selection = ""  # among ``SELECTIONS``

    def __init__(self, rho=0.05, **kwargs):
        super().__init__(**kwargs)
        self.rho = number(
            "rho", rho, lambda value: 0 < value < 1, "lie between 0 and 1"
        )

    @classmethod
    def _of_units(cls, coefficients, activation):
        """Return the layer for units of an Activation, with Coefficients."""
        return cls(coefficients.rho, dtype="float32", name="sparsity")

    def build(self, input_shape):
        """Create the threshold.

        Parameters
        ----------
        input_shape : tuple
            Shape of the activations, (n_samples, n_units).
        """
        if len(input_shape) != 2 or input_shape[1] is None:
            raise ValueError(
                "Activations must have the shape (n_samples, n_units), with a known "
                f"number of units; got the shape {tuple(input_shape)}."
            )

        def add(name, shape):
            # Small steps vanish in half precision.
            return self.add_weight(
                shape=shape,
                initializer="zeros",
                trainable=False,
                dtype="float32",
                autocast=False,
                name=name,
            )

        is_per_unit = SELECTIONS[self._selection].is_per_unit
        self.threshold = add("threshold", input_shape[1:] if is_per_unit else ())
        self.n_batches = add("n_batches", ())
        self.built = True

    def call(self, inputs, training=False):
        """Return the activations, with 0 for those that do not stay.

        Parameters
        ----------
        inputs : tensor of shape (n_samples, n_units)
            Activations, of 0 or more.

        training : bool, default=False
            Whether to choose among the activations of the batch, or by the threshold.

        Returns
        -------
        codes : tensor of shape (n_samples, n_units)
            In the dtype of the activations.
        """
        inputs = ops.convert_to_tensor(inputs)
        if not training:
            return self._codes(inputs)
        values = ops.maximum(ops.cast(inputs, "float32"), 0.0)
        ones = ops.ones_like(values[:, 0])
        rho = ops.convert_to_tensor(self.rho, dtype="float32")
        given = values, rho, ones / ops.sum(ones), ops
        codes, thresholds = largest(SELECTIONS[self._selection], *given)
        if len(thresholds.shape) > len(self.threshold.shape):
            # Each row has one: what they have in common is that of the whole batch.
            _, thresholds = largest(SELECTIONS["batchtopk"], *given)
        self.n_batches.assign_add(ops.ones(()))
        share = ops.maximum(1 / self.n_batches, 1 / _AVERAGED_BATCHES)
        self.threshold.assign_add(share * (thresholds - self.threshold))
        return ops.cast(codes, inputs.dtype)

    def _start_at(self, threshold):
        """Set the threshold, from which a training moves it slowly."""
        self.threshold.assign(threshold)
        self.n_batches.assign(float(_AVERAGED_BATCHES))

    def _codes(self, activations):
        """Return the codes of inference."""
        stays = ops.cast(activations, "float32") >= self.threshold
        stays = ops.logical_and(stays, activations > 0)
        return ops.where(stays, activations, ops.zeros_like(activations))

    # What `SparseAutoencoder` asks of its layer, as of `KLSparsity`.

    def _per_row(self, activations):
        return activations

    def _penalty_of_mean(self, mean):
        return ops.zeros(())

    def compute_output_shape(self, input_shape):
        """Return the shape of the input.

        Parameters
        ----------
        input_shape : tuple
            Shape of the activations.

        Returns
        -------
        output_shape : tuple
            The same.
        """
        return input_shape

    def get_config(self):
        """Return the arguments of the constructor.

        Returns
        -------
        config : dict
            By their names.
        """
        return {**super().get_config(), "rho": self.rho}


@keras.saving.register_keras_serializable(package="sksparse_ae")
class TopKSparsity(_SelectionLayer):  # noqa: D101
    __doc__ = _DOCUMENTATION.format(
        name="TopKSparsity",
        kept="the largest activations of each sample",
        rule="the rho * n_units largest activations of each sample stay, at least one",
        of="",
        shape="()",
        others="BatchTopKSparsity : As many on average over a batch.",
        reference='Makhzani, A., Frey, B. "k-sparse autoencoders", ICLR 2014.',
        example="[[0.0, 3.0, 0.0, 4.0], [8.0, 0.0, 7.0, 0.0]]",
    )

    _selection = "topk"


@keras.saving.register_keras_serializable(package="sksparse_ae")
class BatchTopKSparsity(_SelectionLayer):  # noqa: D101
    __doc__ = _DOCUMENTATION.format(
        name="BatchTopKSparsity",
        kept="the largest activations of a batch",
        rule=(
            "the largest activations of the whole batch stay, rho * n_units of a\n"
            "    sample on average"
        ),
        of="",
        shape="()",
        others="TopKSparsity : As many of each sample.",
        reference=(
            'Bussmann, B., Leask, P., Nanda, N. "BatchTopK sparse autoencoders", 2024.'
        ),
        example="[[0.0, 0.0, 0.0, 0.0], [8.0, 5.0, 7.0, 6.0]]",
    )

    _selection = "batchtopk"


@keras.saving.register_keras_serializable(package="sksparse_ae")
class LifetimeSparsity(_SelectionLayer):  # noqa: D101
    __doc__ = _DOCUMENTATION.format(
        name="LifetimeSparsity",
        kept="the largest activations of each unit",
        rule="each unit stays on for the share rho of the samples, at least for one",
        of=" of each unit",
        shape="(n_units,)",
        others="TopKSparsity : A share of the units for each sample.",
        reference=('Makhzani, A., Frey, B. "Winner-take-all autoencoders", NIPS 2015.'),
        example="[[0.0, 0.0, 0.0, 0.0], [8.0, 5.0, 7.0, 6.0]]",
    )

    _selection = "lifetime"


# The layer of each of ``SELECTIONS``, which ``to_keras`` puts behind the encoder.
LAYERS_OF_SELECTIONS = {
    layer._selection: layer
    for layer in (TopKSparsity, BatchTopKSparsity, LifetimeSparsity)
}
