"""Keras layers that keep the largest activations, for sparse autoencoders of any kind.

They are what `sparsity="topk"`, `"batchtopk"` and `"lifetime"` of
:class:`~sksparse_ae.SparseAutoencoderTransformer` mean, on every version of Keras 3.
"""

from ._keras import keras, ops
from ._objective.selections import SELECTIONS, kept_in_row, largest
from ._sparsity_layer import SparsityLayer
from ._utils.options import number

__all__ = ["BatchTopKSparsity", "LifetimeSparsity", "TopKSparsity"]

# The threshold is the mean over so many of the first batches; a later one has the share
# of one in as many.
_AVERAGED_BATCHES = 100

_DOCUMENTATION = """Layer that keeps {kept}.

    {rule}. The others become 0, and no gradient passes through them.{inference}

    Parameters
    ----------
    rho : float, default=0.05
        Share of the activations that stays, in (0, 1).

    **kwargs : dict
        Arguments of `keras.layers.Layer`, such as `name`.
{attributes}
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

_INFERENCE = """
    In inference the codes of a sample do not depend on other samples: activations below
    a fixed threshold become 0. Training averages the threshold{of} that gives the share
    rho in each batch, over the first hundred batches alike, so that it is of use after
    a single step. `to_keras` sets it to the `threshold_` of the fit."""

_ATTRIBUTES = """
    Attributes
    ----------
    threshold : keras.Variable of shape {shape}
        Least activation that stays in inference, in float32; saved with the model.
"""


class _SelectionLayer(SparsityLayer):
    _arguments = ("rho",)
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
        """Check the shape of the activations.

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
        self.built = True

    def call(self, inputs, training=False):
        """Return the activations, with 0 for those that do not stay.

        Parameters
        ----------
        inputs : tensor of shape (n_samples, n_units)
            Activations, of 0 or more.

        training : bool, default=False
            Whether other samples of the batch may count.

        Returns
        -------
        codes : tensor of shape (n_samples, n_units)
            In the dtype of the activations.
        """
        inputs = ops.convert_to_tensor(inputs)
        choose = self._codes_of_batch if training else self._codes
        return ops.cast(choose(ops.cast(inputs, "float32")), inputs.dtype)

    def _codes_of_batch(self, activations):
        """Return the codes of training."""
        return self._codes(activations)

    def _codes(self, activations):
        """Return the codes of inference."""
        return kept_in_row(self._rule, activations, self._given, ops)

    @property
    def _rule(self):
        return SELECTIONS[self._selection]

    @property
    def _given(self):
        """What the rule needs beside the activations of a sample."""
        return ops.convert_to_tensor(self.rho, dtype="float32")


class _ThresholdLayer(_SelectionLayer):
    """A selection in which other samples count: in inference it has a threshold."""

    def build(self, input_shape):
        """Create the threshold.

        Parameters
        ----------
        input_shape : tuple
            Shape of the activations, (n_samples, n_units).
        """
        super().build(input_shape)

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

        shape = input_shape[1:] if self._rule.is_per_unit else ()
        self.threshold = add("threshold", shape)
        self.n_batches = add("n_batches", ())

    def _codes_of_batch(self, activations):
        values = ops.maximum(activations, 0.0)
        ones = ops.ones_like(values[:, 0])
        rho = ops.convert_to_tensor(self.rho, dtype="float32")
        row_weights = ones / ops.sum(ones)
        codes, thresholds = largest(self._rule, values, rho, row_weights, ops)
        self.n_batches.assign_add(ops.ones(()))
        share = ops.maximum(1 / self.n_batches, 1 / _AVERAGED_BATCHES)
        self.threshold.assign_add(share * (thresholds - self.threshold))
        return codes

    def _start_at(self, threshold):
        """Set the threshold, from which a training moves it slowly."""
        self.threshold.assign(threshold)
        self.n_batches.assign(float(_AVERAGED_BATCHES))

    @property
    def _given(self):
        return ops.convert_to_tensor(self.threshold)


@keras.saving.register_keras_serializable(package="sksparse_ae")
class TopKSparsity(_SelectionLayer):  # noqa: D101, __doc__ is computed
    __doc__ = _DOCUMENTATION.format(
        name="TopKSparsity",
        kept="the largest activations of each sample",
        rule="The rho * n_units largest activations of each sample stay, at least one",
        inference="",
        attributes="",
        others="BatchTopKSparsity : As many on average over a batch.",
        reference='Makhzani, A., Frey, B. "k-sparse autoencoders", ICLR 2014.',
        example="[[0.0, 3.0, 0.0, 4.0], [8.0, 0.0, 7.0, 0.0]]",
    )

    _selection = "topk"


@keras.saving.register_keras_serializable(package="sksparse_ae")
class BatchTopKSparsity(_ThresholdLayer):  # noqa: D101, __doc__ is computed
    __doc__ = _DOCUMENTATION.format(
        name="BatchTopKSparsity",
        kept="the largest activations of a batch",
        rule=(
            "In training, the largest activations of the whole batch stay,\n"
            "    rho * n_units of a sample on average"
        ),
        inference=_INFERENCE.format(of=""),
        attributes=_ATTRIBUTES.format(shape="()"),
        others="TopKSparsity : As many of each sample.",
        reference=(
            'Bussmann, B., Leask, P., Nanda, N. "BatchTopK sparse autoencoders", 2024.'
        ),
        example="[[0.0, 0.0, 0.0, 0.0], [8.0, 5.0, 7.0, 6.0]]",
    )

    _selection = "batchtopk"


@keras.saving.register_keras_serializable(package="sksparse_ae")
class LifetimeSparsity(_ThresholdLayer):  # noqa: D101, __doc__ is computed
    __doc__ = _DOCUMENTATION.format(
        name="LifetimeSparsity",
        kept="the largest activations of each unit",
        rule=(
            "In training, each unit stays on for the share rho of the samples, and at\n"
            "    least for one"
        ),
        inference=_INFERENCE.format(of=" of each unit"),
        attributes=_ATTRIBUTES.format(shape="(n_units,)"),
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
