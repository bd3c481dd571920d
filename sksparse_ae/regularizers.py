"""Ng's sparsity penalty for Keras layers, on every version of Keras 3."""

import math
import warnings
from numbers import Integral

from ._keras import keras, ops
from ._objective.activations import mean_to_rho_hat
from ._objective.penalties import KL_MARGIN, sparsity_penalty, straight_through
from ._sparsity_layer import SparsityLayer
from ._utils.options import not_negative, number

# From 3.14 on, Keras divides what an activity regularizer returns by the batch size,
# as Keras 2 did; from 3.0 to 3.13 it does not (keras-team/keras, pull request 22021).
_KERAS_DIVIDES_BY_BATCH_SIZE = tuple(
    int(part) for part in keras.__version__.split(".")[:2]
) >= (3, 14)

# The range of sigmoid units, and the default of `activation_range`.
_USUAL_RANGE = (0.0, 1.0)

# The TensorFlow operations whose activations may leave that range.
_LEAVE_USUAL_RANGE = (
    "Elu",
    "LeakyRelu",
    "Relu",
    "Relu6",
    "Selu",
    "Softplus",
    "Softsign",
    "Tanh",
)


def _penalty_of(activations, options, mask=None, running=None):
    """Return the penalty of a batch, in float32 or better; 0 if it has no samples.

    Parameters
    ----------
    activations : tensor
    options : KLDivergenceRegularizer or KLSparsity
        Holds the settings. Its ``warns_of_range`` is cleared once it has warned.
    mask : tensor of bool, optional
        Which samples count. It has the axes of the activations without that of the
        units, or only the first of these.
    running : callable, optional
        Maps the mean of the batch on [0, 1], and whether the batch has samples, to the
        mean at which the slope is taken.
    """
    activations = ops.convert_to_tensor(activations)
    _check_axis(options.axis, tuple(activations.shape))
    operation = _operation_of(activations)
    # In half precision 1 - 2**-20 rounds to 1, so that log(1 - rho_hat) is lost.
    if keras.backend.standardize_dtype(activations.dtype) != "float64":
        activations = ops.cast(activations, "float32")
    activations = ops.moveaxis(activations, options.axis, -1)
    axes = tuple(range(len(activations.shape) - 1))
    counts = ops.ones_like(activations[..., :1])
    if mask is not None:
        mask = ops.cast(mask, counts.dtype)
        given, expected = tuple(mask.shape), tuple(counts.shape[:-1])
        missing = len(counts.shape) - len(given)
        if missing < 1 or not all(
            m == n or None in (m, n) for m, n in zip(given, expected, strict=False)
        ):
            raise ValueError(
                f"mask has the shape {given}, but the samples have {expected}."
            )
        counts = counts * ops.reshape(mask, (*ops.shape(mask), *[1] * missing))
        # Masked activations may hold any value, NaN included.
        activations = ops.where(counts > 0, activations, 0.0)
    n_samples = ops.sum(counts)
    mean = ops.sum(activations, axis=axes) / ops.maximum(n_samples, 1.0)
    rho_hat = mean_to_rho_hat(mean, options.activation_range)
    if options.warns_of_range and _leaves_usual_range(operation, rho_hat):
        options.warns_of_range = False
        _warn_of_range()
    if running is not None:
        rho_hat = running(rho_hat, n_samples > 0)
    penalty = sparsity_penalty(rho_hat, options.rho, options.beta, ops, once=False)
    return ops.where(n_samples > 0, penalty, ops.zeros_like(penalty))


def _operation_of(tensor):
    """Return the name of the TensorFlow operation that made a tensor of a graph.

    It is None for tensors that belong to no graph.
    """
    return getattr(getattr(tensor, "op", None), "type", None)


def _leaves_usual_range(operation, rho_hat):
    """Return whether the units leave the usual range.

    In a graph this is told from the kind of operation, elsewhere from the values.
    """
    if operation is not None:
        return operation in _LEAVE_USUAL_RANGE
    try:
        return bool(ops.any(ops.abs(rho_hat - 0.5) > 0.5 + KL_MARGIN))
    except TypeError:  # JAX is tracing: there are no values yet
        return False


def _warn_of_range():
    warnings.warn(
        "The sparsity penalty takes activations to lie in [0, 1], as those of sigmoid "
        "units do; these units leave it, where the penalty is very large and steep. "
        "Set activation_range: (-1, 1) for tanh; for relu (0, h), with the mean "
        "activation h that is to count as 1.",
        stacklevel=2,
    )


def _check_axis(axis, shape):
    """Raise if the shape has no such axis, or if the axis is that of the samples."""
    if not -len(shape) < axis < len(shape):
        raise ValueError(
            f"axis={axis} is not an axis of units: the activations have the shape "
            f"{shape}, and their first axis is the samples."
        )


def as_loss(penalty):
    """Return a penalty in the dtype in which Keras adds up the losses of a model."""
    floatx = keras.config.floatx()
    return penalty if floatx == "float32" else ops.cast(penalty, floatx)


def _checked(rho, beta, activation_range, axis):
    rho = number(
        "rho",
        rho,
        lambda value: KL_MARGIN <= value <= 1 - KL_MARGIN,
        "lie between 0 and 1, 2**-20 away from both",
    )
    beta = not_negative("beta", beta)
    try:
        low, high = _USUAL_RANGE if activation_range is None else activation_range
        ordered = -math.inf < low < high < math.inf
    except (TypeError, ValueError):
        ordered = False
    if not ordered:
        raise ValueError(
            "activation_range must be None or a pair of finite numbers (low, high) "
            f"with low < high; got activation_range={activation_range!r}."
        )
    if isinstance(axis, bool) or not isinstance(axis, Integral) or axis == 0:
        raise ValueError(
            f"axis must be that of the units, 1 for channels_first; got axis={axis!r}."
        )
    return rho, beta, (float(low), float(high)), int(axis)


@keras.saving.register_keras_serializable(package="sksparse_ae")
class KLDivergenceRegularizer(keras.regularizers.Regularizer):
    r"""Kullback-Leibler sparsity penalty for `activity_regularizer=`.

    It adds to the loss of a batch

    .. math::

        \beta \sum_j \mathrm{KL}(\rho \,\|\, \hat\rho_j)
        = \beta \sum_j \left(\rho \log \frac{\rho}{\hat\rho_j}
        + (1 - \rho) \log \frac{1 - \rho}{1 - \hat\rho_j}\right),

    where :math:`\hat\rho_j` is the mean activation of unit :math:`j` over the samples
    of the batch [1]_. Keras passes the layer's output, of shape
    (batch size, ..., units); the mean is taken over all axes but that of the units.
    Keras passes no mask to a regularizer: for sequences with padding use `KLSparsity`.
    A batch without samples has no penalty. Keras ignores the activity regularizer of a
    layer within `keras.layers.TimeDistributed`: give it to `TimeDistributed` instead.

    The contribution is the same on every supported Keras and at every batch size. From
    version 3.14 on, Keras divides what an activity regularizer returns by the batch
    size; there a direct call returns the penalty times the batch size.

    Where :math:`\hat\rho_j` is closer than :math:`2^{-20}` to 0 or 1, or outside
    [0, 1], as the mean of a relu unit can be, the divergence continues along its
    tangent. Its slope is about :math:`2^{20} \rho` below 0, and above 1
    :math:`2^{20} (1 - \rho)`, so that units that leave `activation_range` make the loss
    very large.

    Parameters
    ----------
    rho : float, default=0.05
        Mean activation that is asked of each unit, in (0, 1).

    beta : float, default=3.0
        Weight of the penalty, 0 or larger. It is Ng's beta beside a loss that is half
        the squared error, summed over the features. `loss="mse"` is the mean over D
        features, without the factor 1/2: beside it pass 2 / D times Ng's beta.

    activation_range : tuple of two floats, default=None
        Interval on which mean activations are measured; (-1, 1) for tanh units, whose
        :math:`\hat\rho` is then (mean + 1) / 2. The activations of relu units have no
        upper end: (0, h) lets the mean activation h count as 1. None means (0, 1), with
        a single warning if units leave it.

    axis : int, default=-1
        Axis of the units; 1 for layers with `data_format="channels_first"`.

    Raises
    ------
    ValueError
        If a parameter is outside its range; when called, if the activations have no
        such `axis`.

    Warns
    -----
    UserWarning
        When called, if `activation_range` is None and the units leave (0, 1). In a
        TensorFlow graph, which has no values, the activation function decides; it is
        recognised only as the last operation of the layer.

    See Also
    --------
    KLSparsity : The same penalty as a layer, with a running mean over batches.

    References
    ----------
    .. [1] Ng, A. "Sparse autoencoder", CS294A lecture notes, Stanford University, 2011.

    Examples
    --------
    >>> import keras
    >>> from sksparse_ae.regularizers import KLDivergenceRegularizer
    >>> layer = keras.layers.Dense(
    ...     2,
    ...     activation="sigmoid",
    ...     kernel_initializer="zeros",
    ...     activity_regularizer=KLDivergenceRegularizer(rho=0.25, beta=2.0),
    ... )
    >>> _ = layer(keras.ops.ones((10, 3)))  # every activation is 1/2
    >>> round(float(layer.losses[0]), 4)  # 2 * 2 * KL(0.25 || 0.5)
    0.5232
    """

    def __init__(self, rho=0.05, beta=3.0, activation_range=None, axis=-1):
        self.rho, self.beta, self.activation_range, self.axis = _checked(
            rho, beta, activation_range, axis
        )
        self.warns_of_range = activation_range is None

    def __repr__(self):
        return f"{type(self).__name__}(rho={self.rho}, beta={self.beta})"

    def __call__(self, x):
        """Return the penalty of a layer's output, scaled for this version of Keras.

        Parameters
        ----------
        x : tensor of shape (batch_size, ..., n_units)

        Returns
        -------
        penalty : scalar tensor
            Of the dtype `keras.config.floatx()`; float64 if that is float32 and `x` is
            float64.
        """
        penalty = _penalty_of(x, self)
        if _KERAS_DIVIDES_BY_BATCH_SIZE:
            penalty = penalty * ops.cast(ops.shape(x)[0], penalty.dtype)
        return as_loss(penalty)

    def get_config(self):
        """Return the arguments of the constructor.

        Returns
        -------
        config : dict
            By their names.
        """
        return {
            "rho": self.rho,
            "beta": self.beta,
            "activation_range": self.activation_range,
            "axis": self.axis,
        }


@keras.saving.register_keras_serializable(package="sksparse_ae")
class KLSparsity(SparsityLayer):
    r"""Layer that returns its input and adds the sparsity penalty to the loss.

    It adds :math:`\beta \sum_j \mathrm{KL}(\rho \,\|\, \hat\rho_j)` through
    `add_loss`, which no version of Keras rescales.

    KL is convex: its average over small batches exceeds its value at the mean over
    all samples, by about Var(a) / (2 B rho (1 - rho)) for a unit in batches of B.
    With `momentum`, training evaluates KL at a running mean instead,
    :math:`\hat\rho \leftarrow` `momentum` :math:`\hat\rho` + (1 - `momentum`) (mean of
    the batch). The slope of KL at the running mean acts on the mean of the batch
    undiminished. In inference, and without `momentum`, :math:`\hat\rho` is the mean of
    the batch. Samples that a mask leaves out, such as padded steps of a sequence, do
    not count. Within `keras.layers.TimeDistributed` each step has its own penalty;
    after `TimeDistributed`, all steps share one.

    Parameters
    ----------
    rho : float, default=0.05
        Mean activation that is asked of each unit, in (0, 1).

    beta : float, default=3.0
        Weight of the penalty, 0 or larger.

    momentum : float, default=None
        Share of the running mean that a training step keeps, in [0, 1). About
        batch_size / (1 - momentum) samples enter the mean. None keeps no mean.

    activation_range : tuple of two floats, default=None
        Interval on which mean activations are measured; (-1, 1) for tanh units, (0, h)
        for relu units whose mean activation h is to count as 1. None means (0, 1), with
        a single warning if units leave it.

    axis : int, default=-1
        Axis of the units; 1 for layers with `data_format="channels_first"`.

    **kwargs : dict
        Arguments of `keras.layers.Layer`, such as `name`.

    Attributes
    ----------
    rho_hat : keras.Variable of shape (n_units,)
        The running mean, in float32; it starts at `rho` and is saved with the
        model. Only with `momentum`.

    Raises
    ------
    ValueError
        If a parameter is outside its range; when called, if the activations have no
        such `axis`.

    Warns
    -----
    UserWarning
        When called, if `activation_range` is None and the units leave (0, 1). In a
        TensorFlow graph, which has no values, the activation function decides; it is
        recognised only as the last operation of the layer.

    See Also
    --------
    KLDivergenceRegularizer : The same penalty for `activity_regularizer=`.

    Examples
    --------
    >>> import keras
    >>> from sksparse_ae.regularizers import KLSparsity
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((64,)),
    ...         keras.layers.Dense(25, activation="sigmoid"),
    ...         KLSparsity(rho=0.01, beta=3.0, momentum=0.9),
    ...         keras.layers.Dense(64),
    ...     ]
    ... )
    >>> _ = model(keras.ops.zeros((10, 64)))
    >>> len(model.losses)
    1
    """

    _arguments = ("rho", "beta", "momentum", "activation_range", "axis")

    def __init__(
        self,
        rho=0.05,
        beta=3.0,
        momentum=None,
        activation_range=None,
        axis=-1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.rho, self.beta, self.activation_range, self.axis = _checked(
            rho, beta, activation_range, axis
        )
        self.warns_of_range = activation_range is None
        if momentum is not None:
            momentum = number(
                "momentum",
                momentum,
                lambda value: 0 <= value < 1,
                "be None or lie between 0 and 1, 1 excluded",
            )
        self.momentum = momentum
        self.supports_masking = True

    def build(self, input_shape):
        """Create the running mean, with one value per unit.

        Parameters
        ----------
        input_shape : tuple
            Shape of the activations.
        """
        _check_axis(self.axis, tuple(input_shape))
        if self.momentum is not None:
            if input_shape[self.axis] is None:
                raise ValueError(
                    f"momentum keeps a mean of each unit: the size of axis={self.axis} "
                    f"must be known; got the shape {tuple(input_shape)}."
                )
            self.rho_hat = self.add_weight(
                shape=(input_shape[self.axis],),
                initializer=keras.initializers.Constant(self.rho),
                trainable=False,
                dtype="float32",
                autocast=False,  # small steps vanish in half precision
                name="rho_hat",
            )
        self.built = True

    def call(self, inputs, training=False, mask=None):
        """Add the penalty to the losses and return the inputs.

        Parameters
        ----------
        inputs : tensor
            Activations, with the units along `axis`.

        training : bool, default=False
            Whether the activations move the running mean, if there is one.

        mask : tensor of bool, default=None
            Which samples, or steps of samples, count. Keras passes the mask.

        Returns
        -------
        inputs : tensor
            As they were given.
        """
        takes_in = training and self.momentum is not None
        running = self._move_mean if takes_in else None
        self.add_loss(as_loss(_penalty_of(inputs, self, mask, running)))
        return inputs

    @classmethod
    def _of_units(cls, coefficients, activation):
        """Return the layer for units of an Activation, with Coefficients."""
        return cls(
            coefficients.rho,
            coefficients.beta,
            activation_range=activation.unit_range,
            dtype="float32",
            name="sparsity",
        )

    def _penalty_of_mean(self, mean):
        rho_hat = mean_to_rho_hat(mean, self.activation_range)
        return sparsity_penalty(rho_hat, self.rho, self.beta, ops)

    def _move_mean(self, rho_hat, has_samples):
        kept = ops.cast(self.rho_hat, rho_hat.dtype)
        moved = self.momentum * kept + (1 - self.momentum) * rho_hat
        moved = ops.where(has_samples, moved, kept)
        self.rho_hat.assign(ops.stop_gradient(moved))
        return straight_through(moved, rho_hat, ops)


# The layer of each of ``PENALTIES``, which ``to_keras`` puts behind the encoder.
LAYERS_OF_PENALTIES = {"kl": KLSparsity}
