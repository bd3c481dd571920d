"""The Keras model that ``to_keras`` returns."""

import base64
import math

import numpy as np

from ._keras import keras, ops
from ._network.problem import USUAL_WEIGHT_DECAY
from ._objective.activations import ACTIVATIONS, OUTPUT_ACTIVATIONS
from ._objective.losses import LOSSES, TINY
from ._objective.objective import Coefficients, units_of
from ._objective.penalties import weight_penalty
from ._utils.options import count, not_negative, one_of, positive
from .regularizers import LAYERS_OF_PENALTIES, as_loss
from .selections import LAYERS_OF_SELECTIONS

LAYERS_OF_SPARSITIES = {**LAYERS_OF_PENALTIES, **LAYERS_OF_SELECTIONS}

# The names of the layers, in the order in which data pass through them.
LAYERS = ("encoder", "sparsity", "decoder")


def _matrix(whitening, n_features=None):
    """Return a square matrix from itself or from its text, or None from None."""
    if isinstance(whitening, str):
        values = np.frombuffer(base64.b64decode(whitening), "<f4")
        whitening = values.reshape(math.isqrt(values.size), -1)
    if whitening is None:
        return None
    whitening = np.array(whitening, dtype=np.float64, ndmin=2)
    n_rows = whitening.shape[0] if n_features is None else n_features
    if whitening.shape != (n_rows, n_rows):
        raise ValueError(
            "whitening must be a matrix of a row and a column for each feature; got "
            f"the shape {whitening.shape}."
        )
    return whitening


def _vector(means, n_features=None):
    """Return an array of numbers from itself or from its text, or None from None."""
    if means is None:
        return None
    if isinstance(means, str):
        means = np.frombuffer(base64.b64decode(means), "<f4")
    means = np.array(means, dtype=np.float64)
    shape = means.shape if n_features is None else (n_features,)
    if means.shape != shape or means.ndim != 1 or not np.isfinite(means).all():
        raise ValueError(
            "means must be a finite number for each feature; got an array of shape "
            f"{means.shape}."
        )
    return means


def _text(matrix):
    """Return an array as text: in JSON its numbers would take five times the space."""
    if matrix is None:
        return None
    return base64.b64encode(matrix.astype("<f4").tobytes()).decode("ascii")


def _tensor(matrix, like):
    """Return a matrix as a tensor of the dtype of another one."""
    dtype = keras.backend.standardize_dtype(like.dtype)
    return ops.convert_to_tensor(matrix, dtype=dtype)


@keras.saving.register_keras_serializable(package="sksparse_ae")
class ReconstructionLoss(keras.losses.Loss):
    """Reconstruction loss of Ng's objective: summed over features, not averaged.

    Keras' own losses average over the features, so that with them `beta` and
    `weight_decay` would mean something else for every number of features.

    Parameters
    ----------
    loss : {"squared_error", "log_loss", "poisson", "huber"}, default="squared_error"
        "squared_error" is half the squared norm of the error, "log_loss" the Bernoulli
        cross-entropy summed over the features, of a reconstruction in (0, 1), "poisson"
        half the Poisson deviance, of a reconstruction above 0, and "huber" half the
        squared error up to 1.35 units of the data and linear beyond.

    scale : float, default=1.0
        Unit of the data in which the error is measured. "log_loss", which has no unit,
        is divided by its square.

    name : str, default="reconstruction_loss"
        Name of the loss.

    reduction : str, default="sum_over_batch_size"
        How Keras reduces the losses of the samples; the default is their mean.

    whitening : array-like of shape (n_features, n_features) or str, default=None
        Matrix that scaled errors of "squared_error" are multiplied by, such as the
        `whitening_` of a fit; or its text, as `get_config` returns it.

    See Also
    --------
    SparseAutoencoder : The model that is to be compiled with it.

    Examples
    --------
    >>> import numpy as np
    >>> from sksparse_ae.keras_model import ReconstructionLoss
    >>> float(ReconstructionLoss()(np.zeros((2, 3)), np.ones((2, 3))))
    1.5
    """

    def __init__(
        self,
        loss="squared_error",
        scale=1.0,
        name="reconstruction_loss",
        reduction="sum_over_batch_size",
        whitening=None,
    ):
        super().__init__(name=name, reduction=reduction)
        self.loss = one_of("loss", loss, LOSSES)
        self.scale = positive("scale", scale)
        self.whitening = _matrix(whitening)
        if self.whitening is not None and LOSSES[loss].takes_inputs:
            raise ValueError(f"loss={loss!r} has no errors that whitening applies to.")

    def call(self, y_true, y_pred):
        """Return the loss of each sample.

        Parameters
        ----------
        y_true : tensor of shape (n_samples, n_features)
            Samples. For images and sequences, all axes after the first are features.
            NaN is a value that is not observed and has no loss, unless the errors are
            whitened.

        y_pred : tensor of shape (n_samples, n_features)
            Their reconstructions.

        Returns
        -------
        losses : tensor of shape (n_samples,)
            Not reduced; in float64 if the reconstructions are in float64, else in
            float32.

        Raises
        ------
        ValueError
            If the shapes differ. Axes of unknown length are not compared.
        """
        shapes = tuple(y_true.shape), tuple(y_pred.shape)
        if len(shapes[0]) != len(shapes[1]) or not all(
            given == expected or None in (given, expected)
            for given, expected in zip(*shapes, strict=True)
        ):
            raise ValueError(
                "The targets of an autoencoder are its inputs: y_true must have the "
                f"shape of y_pred, {shapes[1]}; got {shapes[0]}."
            )
        # In half precision 1 - epsilon rounds to 1, and squares overflow.
        if keras.backend.standardize_dtype(y_pred.dtype) != "float64":
            y_pred = ops.cast(y_pred, "float32")
        y_true, observed = ops.cast(y_true, y_pred.dtype), None
        if self.whitening is None:
            observed = ops.logical_not(ops.isnan(y_true))
            y_true = ops.where(observed, y_true, ops.zeros_like(y_true))
        loss = LOSSES[self.loss]
        if loss.interval[1] < np.inf:  # shares, which have no unit
            y_pred = loss.output_of(y_pred, keras.config.epsilon(), ops)
            losses = loss.of_rows(y_true, y_pred, ops, observed) / self.scale**2
        else:
            # Scale before squaring: the squares may leave the range of float32.
            y_true, y_pred = y_true / self.scale, y_pred / self.scale
            if self.whitening is not None:
                errors = y_pred - y_true
                y_pred = ops.matmul(errors, _tensor(self.whitening, errors))
                y_true = ops.zeros_like(y_pred)
            y_pred = loss.output_of(y_pred, keras.config.epsilon(), ops)
            losses = loss.of_rows(y_true, y_pred, ops, observed)
        # All axes but the first are features, as in images.
        return ops.sum(losses, axis=tuple(range(1, len(losses.shape))))

    def get_config(self):
        """Return the arguments of the constructor.

        Returns
        -------
        config : dict
            By their names.
        """
        return {
            "loss": self.loss,
            "scale": self.scale,
            "name": self.name,
            "reduction": self.reduction,
            "whitening": _text(self.whitening),
        }


@keras.saving.register_keras_serializable(package="sksparse_ae")
class MissingValues(keras.layers.Layer):
    """Rows with NaN for what is missing, as the encoder of such a fit reads them.

    A missing value is the mean of its feature. The distances of the others of its row
    from their means are multiplied by the number of features over that of the observed
    ones. Complete rows stay as they are.

    Parameters
    ----------
    means : array-like of shape (n_features,) or str
        What to read where a value is missing, such as the `offset_` of a fit; or its
        text, as `get_config` returns it.

    **kwargs : dict
        Arguments of `keras.layers.Layer`, such as `name`.

    See Also
    --------
    SparseAutoencoder : The model that has it before its encoder, if it is given means.

    Examples
    --------
    >>> import numpy as np
    >>> from sksparse_ae.keras_model import MissingValues
    >>> layer = MissingValues(means=[1.0, 2.0])
    >>> np.asarray(layer(np.array([[np.nan, 3.0], [5.0, 6.0]]))).tolist()
    [[1.0, 4.0], [5.0, 6.0]]
    """

    def __init__(self, means, **kwargs):
        super().__init__(**{"dtype": "float32", "trainable": False, **kwargs})
        self.means = _vector(means)

    def call(self, inputs):
        """Return the rows as they are read.

        Parameters
        ----------
        inputs : tensor of shape (n_samples, n_features)
            Rows, with NaN for what is missing.

        Returns
        -------
        rows : tensor of shape (n_samples, n_features)
            Without NaN.
        """
        is_missing, means = ops.isnan(inputs), _tensor(self.means, inputs)
        n_missing = ops.sum(ops.cast(is_missing, inputs.dtype), axis=-1, keepdims=True)
        factor = len(self.means) / ops.maximum(len(self.means) - n_missing, 1)
        farther = ops.where(is_missing, means, means + factor * (inputs - means))
        return ops.where(n_missing > 0, farther, inputs)

    def get_config(self):
        """Return the arguments of the constructor.

        Returns
        -------
        config : dict
            By their names.
        """
        return {**super().get_config(), "means": _text(self.means)}


@keras.saving.register_keras_serializable(package="sksparse_ae")
class WeightDecay(keras.regularizers.Regularizer):
    """Half the weight decay times the squared norm of scaled weights.

    Parameters
    ----------
    weight_decay : float
    scale : float
        Factor that multiplies the weights before they are squared.
    before, after : array-like of shape (n_features, n_features) or str, default=None
        Matrices that multiply the weights from the left and from the right, or their
        text.
    """

    def __init__(self, weight_decay, scale, before=None, after=None):
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.scale = positive("scale", scale)
        self.before, self.after = _matrix(before), _matrix(after)

    def __call__(self, weights):
        """Return the penalty."""
        weights = weights * self.scale
        if self.before is not None:
            weights = ops.matmul(_tensor(self.before, weights), weights)
        if self.after is not None:
            weights = ops.matmul(weights, _tensor(self.after, weights))
        return as_loss(weight_penalty([weights], self.weight_decay, ops))

    def get_config(self):
        """Return the arguments of the constructor."""
        return {
            "weight_decay": self.weight_decay,
            "scale": self.scale,
            "before": _text(self.before),
            "after": _text(self.after),
        }


@keras.saving.register_keras_serializable(package="sksparse_ae")
class UnitRows(keras.constraints.Constraint):
    """Rows of one norm, as the decoder of codes that are selected has them.

    Parameters
    ----------
    scale : float
        The norm.
    after : array-like of shape (n_features, n_features) or str, default=None
        Matrix that multiplies the rows before they are measured, or its text.
    """

    def __init__(self, scale, after=None):
        self.scale, self.after = positive("scale", scale), _matrix(after)

    def __call__(self, weights):
        """Return the weights with such rows; rows of 0 stay."""
        rows = weights / self.scale
        if self.after is not None:
            rows = ops.matmul(rows, _tensor(self.after, rows))
        squares = ops.sum(ops.square(rows), axis=-1, keepdims=True)
        return weights * ops.rsqrt(ops.maximum(squares, TINY))

    def get_config(self):
        """Return the arguments of the constructor."""
        return {"scale": self.scale, "after": _text(self.after)}


@keras.saving.register_keras_serializable(package="sksparse_ae")
class SparseAutoencoder(keras.Model):
    """Functional Keras model of a sparse autoencoder, with its penalties.

    The layers are named "encoder", "sparsity" (a `KLSparsity` without a running mean,
    or a layer that selects) and "decoder". Once the model is compiled with
    `ReconstructionLoss`, `fit(X, X)` trains Ng's objective with the mean activations of
    each batch, and `evaluate(X, X)` returns the objective with the mean activations of
    all of `X`. Unlike the average of a penalty over batches, that value does not depend
    on the batch size. With another loss or reduction, or with weights of samples or
    losses, `evaluate` returns Keras' average over the batches. The weights start as
    Glorot's initializer draws them with a fixed seed. With the JAX backend of Keras the
    model only predicts. Weights that `quantize` rounds to integers have no decay.

    Parameters
    ----------
    n_features : int
        Number of inputs.

    n_components : int
        Number of hidden units.

    sparsity : {"kl", "topk", "batchtopk", "lifetime"}, default="kl"
        What keeps the codes sparse: the penalty, or one of the layers of
        `sksparse_ae.selections`.

    rho : float, default=0.05
        Mean activation that the penalty asks of each unit, in (0, 1); with the others
        the share of the activations that stays.

    beta : float, default=3.0
        Weight of the sparsity penalty. Not used by the others.

    weight_decay : "auto" or float, default="auto"
        Weight of the squared weights, of those of the encoder alone if `sparsity` is
        not "kl". "auto" is then 0, and else the value, 3e-3, that
        `weight_decay="auto"` of :class:`~sksparse_ae.SparseAutoencoderTransformer`
        takes with the default `rho` and a linear output on data of unit variance.

    activation : {"auto", "sigmoid", "tanh", "relu"}, default="auto"
        Activation of the hidden units. "auto" is "sigmoid" with the penalty, and else
        "relu".

    output_activation : str, default="linear"
        Activation of the reconstruction: "linear", "sigmoid", "tanh", "relu" or
        "exponential".

    scale : float, default=1.0
        The objective is measured on the data divided by this number.

    whitening : array-like of shape (n_features, n_features) or str, default=None
        And multiplied by this matrix, which has an inverse, as for
        `ReconstructionLoss`.

    means : array-like of shape (n_features,) or str, default=None
        If given, rows may have NaN for what is missing. A layer `MissingValues` with
        these means, named "missing", comes before the encoder.

    layers : dict, default=None
        Serialized layers by their names, as `get_config` returns them. They replace the
        layers that the other parameters describe.

    **kwargs : dict
        Arguments of `keras.Model`, such as `name`.

    See Also
    --------
    sksparse_ae.SparseAutoencoderTransformer.to_keras : Such a model with the weights of
        a fit.
    ReconstructionLoss : The loss to compile it with.

    Examples
    --------
    >>> import numpy as np
    >>> from sksparse_ae.keras_model import ReconstructionLoss, SparseAutoencoder
    >>> model = SparseAutoencoder(n_features=4, n_components=3)
    >>> model.compile(optimizer="adam", loss=ReconstructionLoss())
    >>> X = np.random.default_rng(0).normal(size=(20, 4))
    >>> history = model.fit(X, X, epochs=2, verbose=0)
    >>> len(history.history["loss"])
    2
    """

    def __init__(
        self,
        n_features,
        n_components,
        *,
        sparsity="kl",
        rho=0.05,
        beta=3.0,
        weight_decay="auto",
        activation="auto",
        output_activation="linear",
        scale=1.0,
        whitening=None,
        means=None,
        layers=None,
        **kwargs,
    ):
        n_features = count("n_features", n_features)
        n_components = count("n_components", n_components)
        scale = positive("scale", scale)
        one_of("sparsity", sparsity, LAYERS_OF_SPARSITIES)
        one_of("activation", activation, ("auto", *ACTIVATIONS))
        units = units_of(activation, sparsity)
        decay = weight_decay
        if decay == "auto":
            decay = 0.0 if sparsity in LAYERS_OF_SELECTIONS else USUAL_WEIGHT_DECAY
        one_of("output_activation", output_activation, OUTPUT_ACTIVATIONS)
        whitening, means = _matrix(whitening, n_features), _vector(means, n_features)
        inverse = None if whitening is None else np.linalg.inv(whitening)
        # The objective penalises the weights on the scaled data: scale W1 and
        # W2 / scale, or W2 itself of an exponential output, whose scale is a bias; on
        # whitened data, with P for the whitening, scale P^-1 W1 and W2 P / scale. An
        # initializer without a seed would draw one from Python's global generator.
        decoder_scale = 1.0 if output_activation == "exponential" else 1 / scale
        encoder = keras.layers.Dense(
            n_components,
            activation=units,
            kernel_initializer=keras.initializers.GlorotUniform(seed=0),
            kernel_regularizer=WeightDecay(decay, scale, before=inverse),
            dtype="float32",
            name="encoder",
        )
        decoder = keras.layers.Dense(
            n_features,
            activation=output_activation,
            kernel_initializer=keras.initializers.GlorotUniform(seed=1),
            dtype="float32",
            name="decoder",
            # Rows of norm one have nothing to decay.
            **(
                {"kernel_constraint": UnitRows(1 / decoder_scale, after=whitening)}
                if sparsity in LAYERS_OF_SELECTIONS
                else {
                    "kernel_regularizer": WeightDecay(
                        decay, decoder_scale, after=whitening
                    )
                }
            ),
        )
        sparsity_layer = LAYERS_OF_SPARSITIES[sparsity]._of_units(
            Coefficients(rho, beta, decay), ACTIVATIONS[units]
        )
        layers = {} if layers is None else layers
        if (
            not isinstance(layers, dict)
            or not set(layers) <= set(LAYERS)
            or not all(isinstance(layer, dict) for layer in layers.values())
        ):
            raise ValueError(
                "layers must be None or a dict of serialized layers, with keys among "
                f"{LAYERS}; got layers={layers!r}."
            )
        outputs = inputs = keras.Input((n_features,), dtype="float32", name="X")
        if means is not None:
            outputs = MissingValues(means, name="missing")(inputs)
        for layer in (encoder, sparsity_layer, decoder):
            if layer.name in layers:
                layer = keras.saving.deserialize_keras_object(layers[layer.name])
            outputs = layer(outputs)
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self._settings = {
            "n_features": n_features,
            "n_components": n_components,
            "sparsity": sparsity,
            "rho": rho,
            "beta": beta,
            "weight_decay": weight_decay,
            "activation": activation,
            "output_activation": output_activation,
            "scale": scale,
            "whitening": _text(whitening),
            "means": _text(means),
        }
        self._means = _Means(n_components, name="means")
        self._weighs_losses = False

    def make_train_function(self, force=False):
        """Compile the training step; Keras calls this in `fit`.

        Parameters
        ----------
        force : bool, default=False
            Whether to compile it again.

        Returns
        -------
        function : callable or None
            What Keras returns.

        Raises
        ------
        RuntimeError
            With the JAX backend of Keras.
        """
        _check_backend()
        return super().make_train_function(force)

    def make_test_function(self, force=False):
        """Compile the evaluation step; Keras calls this in `evaluate`.

        Parameters
        ----------
        force : bool, default=False
            Whether to compile it again.

        Returns
        -------
        function : callable or None
            What Keras returns.

        Raises
        ------
        RuntimeError
            With the JAX backend of Keras.
        """
        _check_backend()
        if isinstance(self.loss, ReconstructionLoss):
            weights = self.get_compile_config().get("loss_weights")
            self._weighs_losses = weights is not None
        return super().make_test_function(force)

    def test_step(self, data):
        """Add a batch to the means from which the objective is computed.

        Parameters
        ----------
        data : tuple of tensors
            Inputs and targets, and weights of the samples if there are any.

        Returns
        -------
        metrics : dict
            Values so far, by their names.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        is_mean_of_objective = (
            isinstance(self.loss, ReconstructionLoss)
            and self.loss.reduction == "sum_over_batch_size"
            and not self._weighs_losses
            and sample_weight is None
        )
        if not is_mean_of_objective:
            return super().test_step(data)
        if y is None:
            raise ValueError(
                "evaluate needs targets, which are the inputs: evaluate(X, X)."
            )
        (rows,) = keras.tree.flatten(x)  # x may be a dict
        if self._settings["means"] is not None:
            rows = self.get_layer("missing")(rows)
        sparsity = self.get_layer("sparsity")
        codes = sparsity._codes(self.get_layer("encoder")(rows))
        y_pred = self.get_layer("decoder")(codes)
        averaged = sparsity._per_row(codes)
        self._means.update_state(self.loss.call(y, y_pred), averaged)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def get_metrics_result(self):
        """Return the metrics; in `evaluate` the loss is the exact objective.

        Returns
        -------
        metrics : dict
            By their names.
        """
        results = super().get_metrics_result()
        results.pop(self._means.name, None)
        loss = ops.where(self._means.count > 0, self._objective(), results["loss"])
        # Early versions of Keras 3 return Python numbers here.
        results["loss"] = float(loss) if isinstance(results["loss"], float) else loss
        return results

    def _objective(self):
        encoder, sparsity, decoder = map(self.get_layer, LAYERS)
        # The scale is part of the layers' regularizers. Keras trains no weights that it
        # has rounded to integers, and counts no decay of them.
        penalties = [
            ops.cast(layer.kernel_regularizer(layer.kernel), "float32")
            for layer in (encoder, decoder)
            if layer.kernel_regularizer is not None
            and keras.backend.is_float_dtype(layer.kernel.dtype)
        ]
        sparsity = sparsity._penalty_of_mean(self._means.activation)
        return self._means.loss + sum(penalties) + sparsity

    def get_config(self):
        """Return the arguments of the constructor.

        Returns
        -------
        config : dict
            By their names. `layers` holds what has been changed on the layers since
            construction, such as a frozen encoder or weights of eight bits.
        """
        layers = {}
        for name in LAYERS:
            layers[name] = keras.saving.serialize_keras_object(self.get_layer(name))
            # The layers are built when they are called in the constructor.
            del layers[name]["build_config"]
        return {
            **self._settings,
            "layers": layers,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config):
        """Build the model from the arguments of its constructor.

        Parameters
        ----------
        config : dict
            As `get_config` returns them.

        Returns
        -------
        model : SparseAutoencoder
            With new weights.
        """
        return cls(**config)


def _check_backend():
    # With JAX, Keras keeps the state outside of the layers during a step.
    if keras.config.backend() == "jax":
        raise RuntimeError(
            "SparseAutoencoder only predicts with the 'jax' backend of Keras. Fit and "
            "evaluate it with TensorFlow or PyTorch: set KERAS_BACKEND=tensorflow "
            "before keras is imported."
        )


class _Means(keras.metrics.Metric):
    """Mean loss and mean codes over all samples of an evaluation.

    The variables are sums, because Keras adds up the variables of replicas. They are
    in float64, if the backend has it, which sums a million samples without loss.
    """

    def __init__(self, n_components, name):
        has_float64 = keras.config.backend() != "jax"
        super().__init__(name=name, dtype="float64" if has_float64 else "float32")
        self.count = self.add_variable((), initializer="zeros", name="count")
        self._loss = self.add_variable((), initializer="zeros", name="loss")
        self._activation = self.add_variable(
            (n_components,), initializer="zeros", name="activation"
        )

    def update_state(self, losses, codes):
        """Add a batch."""
        self.count.assign_add(ops.cast(ops.shape(codes)[0], self.dtype))
        for total, values in ((self._loss, losses), (self._activation, codes)):
            total.assign_add(ops.sum(ops.cast(values, self.dtype), axis=0))

    def _mean(self, total):
        mean = total / ops.maximum(self.count, ops.ones_like(self.count))
        return ops.cast(mean, "float32")

    @property
    def loss(self):
        """Mean loss of a sample."""
        return self._mean(self._loss)

    @property
    def activation(self):
        """Mean activation of each unit."""
        return self._mean(self._activation)

    def result(self):
        """Return the mean loss."""
        return self.loss
