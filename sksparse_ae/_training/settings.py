"""Settings that contradict each other, the data, or the training to be continued."""

import inspect
import math
import warnings
from typing import NamedTuple

import numpy as np

from .._network.validation import check_range
from .._objective.losses import LOSSES
from .._objective.penalties import PENALTIES

# What a training that continues another one has to have in common with it.
CONTINUED = ("n_components", "activation", "output_activation", "loss", "scale")


class FittedSettings(NamedTuple):
    """What the parameters were in the latest training.

    Whatever says something of a fit reads them here: the parameters may have been set
    since, for the next one. What beta and the weight decay came to is in ``beta_`` and
    ``weight_decay_``.

    Attributes
    ----------
    step : {"epoch", "iteration"}
        What an iteration of the solver is.
    """

    n_components: int
    activation: str
    output_activation: str
    loss: str
    scale: str | bool
    rho: float
    beta: float
    penalty: str
    step: str

    @classmethod
    def of(cls, estimator):
        """Take them from the parameters of an estimator."""
        step = "iteration" if estimator.solver == "lbfgs" else "epoch"
        *parameters, _, _ = cls._fields
        given = [getattr(estimator, name) for name in parameters]
        return cls(*given, estimator._penalty, step)


def as_python(value):
    """Return a NumPy scalar as the Python number, bool or str that it stands for.

    Arithmetic would keep its dtype, in which 0.1 is rounded and 127 + 1 overflows.
    """
    for scalar, python_type in (
        (np.bool_, bool),
        (np.integer, int),
        (np.floating, float),
        (np.str_, str),
    ):
        if isinstance(value, scalar):
            return python_type(value)
    return value


def with_python_parameters(estimator):
    """Return an estimator with its attributes, and its parameters ``as_python``."""
    settings = object.__new__(type(estimator))
    vars(settings).update(vars(estimator))
    for name in estimator._get_param_names():
        setattr(settings, name, as_python(getattr(estimator, name)))
    return settings


def check_settings(settings, X, *, partial):
    """Raise for parameters that contradict each other or the data.

    Parameters
    ----------
    settings : SparseAutoencoderTransformer
        Whose parameters, each valid by itself, are read.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
    partial : bool
        Whether they are those of a ``partial_fit``, which uses fewer.
    """
    n_samples = X.shape[0]
    PENALTIES[settings._penalty].check(settings.rho)
    needed = LOSSES[settings.loss].output_activation
    if needed not in (None, settings.output_activation):
        raise ValueError(
            f"loss={settings.loss!r} needs output_activation={needed!r}; got "
            f"output_activation={settings.output_activation!r}."
        )
    check_range(X, settings.loss, settings.output_activation)
    if partial:
        return
    if settings.checkpoint_dir is not None and settings.random_state is None:
        raise ValueError(
            "checkpoint_dir needs a random_state: a training goes on from where it "
            "died only if it begins as that one did. Set random_state to an int."
        )
    fraction = settings.validation_fraction
    if settings.early_stopping and n_held_out(fraction, n_samples) >= n_samples:
        raise ValueError(
            f"validation_fraction={fraction} of {n_samples} "
            "samples leaves none to train on; lower it."
        )


# Parameters that a full batch does not use.
NOT_OF_LBFGS = ("batch_size", "learning_rate", "revive", "rho_hat", "shuffle")

# Parameters that a call of ``partial_fit``, one epoch, has no use for. What tells of
# several epochs, as max_iter, is understood.
NOT_OF_PARTIAL_FIT = ("checkpoint_dir", "early_stopping", "revive")


def warn_of_unused(settings, *, partial):
    """Warn of parameters that are not their defaults and that a fit does not read.

    A search over one would find all its candidates alike.
    """
    defaults = inspect.signature(type(settings)).parameters
    unused = {}
    if settings.solver == "lbfgs":
        unused |= dict.fromkeys(NOT_OF_LBFGS, "solver='lbfgs'")
        if not settings.early_stopping:
            reason = "solver='lbfgs' and early_stopping=False"
            unused["n_iter_no_change"] = reason
    elif not isinstance(settings.solver, str):
        reason = "a Keras optimizer, which brings its own"
        unused["learning_rate"] = reason
    if not settings.early_stopping:
        unused["validation_fraction"] = "early_stopping=False"
    if partial:
        unused |= dict.fromkeys(NOT_OF_PARTIAL_FIT, "partial_fit")
    told = [
        f"{name}={value!r} has no effect with {reason}"
        for name, reason in sorted(unused.items())
        if (value := getattr(settings, name)) != defaults[name].default
    ]
    if told:
        warnings.warn(f"{'; '.join(told)}.", UserWarning, stacklevel=6)


def check_continues(settings, fitted_settings):
    """Raise if a parameter differs from that of the training to be continued."""
    for name in CONTINUED:
        value = getattr(fitted_settings, name)
        if getattr(settings, name) != value:
            raise ValueError(
                f"{name}={getattr(settings, name)!r} differs from the {value!r} of the "
                "training that is to be continued; set it back, or start afresh "
                "by fit with warm_start=False."
            )


def n_held_out(validation_fraction, n_samples):
    """Return how many samples ``early_stopping`` holds out."""
    return math.ceil(validation_fraction * n_samples)


def rows_of_a_batch(batch_size, n_samples):
    """Return how many rows a batch has.

    If "auto", a fortieth of all, down to a power of two, from 32 to 256: few values, as
    each makes a program of its own.
    """
    if batch_size == "auto":
        n_rows = min(max(n_samples // 40, 32), 256)
        batch_size = 1 << (n_rows.bit_length() - 1)
    return int(batch_size)
