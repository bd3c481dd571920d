"""Settings that contradict each other, the data, or the training to be continued."""

import inspect
import math
import os
import warnings
from numbers import Real
from typing import Any, NamedTuple, Self

import numpy as np

from .._network.reading import Rows
from .._network.validation import check_range
from .._objective.losses import LOSSES
from .._objective.objective import SELECTED_ACTIVATION, units_of
from .._objective.penalties import PENALTIES
from .._objective.selections import SELECTIONS

# Whitening is for at most so many features. It takes 20 s for 4096, and 130 MB for each
# of a few matrices.
MOST_WHITENED = 4096

# The most rows of a batch that is chosen.
LARGEST_BATCH = 256

# What a training that continues another one has to have in common with it.
CONTINUED = (
    "n_components",
    "sparsity",
    "activation",
    "output_activation",
    "loss",
    "scale",
)


class FittedSettings(NamedTuple):
    """What the parameters were in the latest training.

    Code that reports on a fit reads them here: the estimator's parameters may have been
    set since, for the next fit. The values of beta and the weight decay that a training
    went by are in ``beta_`` and ``weight_decay_``.
    """

    n_components: int
    activation: str
    output_activation: str
    loss: str
    scale: str | bool
    rho: float
    beta: float
    sparsity: str
    step: str  # what an iteration of the solver is: "epoch" or "iteration"

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """Return the parameters of an estimator."""
        step = "iteration" if estimator.solver == "lbfgs" else "epoch"
        *parameters, _ = cls._fields
        return cls._make([*(getattr(estimator, name) for name in parameters), step])


def as_python(value: Any) -> Any:
    """Return a NumPy scalar as the Python number, bool or str that it stands for.

    Arithmetic would keep its dtype, in which 0.1 is rounded and 127 + 1 overflows.
    """
    if isinstance(value, np.floating):  # also one of more digits than Python's
        return float(value)
    return value.item() if isinstance(value, np.generic) else value


def told_settings(estimator: Any) -> str:
    """Return the parameters that are not their defaults, as a user would write them.

    They tell the candidates of a search apart.
    """
    defaults = inspect.signature(type(estimator)).parameters
    told = []
    for name, parameter in defaults.items():
        value = as_python(getattr(estimator, name))
        if value is not None and not isinstance(value, (str, Real, os.PathLike)):
            told.append(f"{name}={type(value).__name__}(...)")
        elif value != parameter.default:
            told.append(f"{name}={value!r}")
    return ", ".join(told)


def with_python_parameters(estimator: Any) -> Any:
    """Return an estimator with its attributes, and its parameters ``as_python``.

    The activation is then no longer "auto".
    """
    settings = object.__new__(type(estimator))
    vars(settings).update(vars(estimator))
    for name in estimator._get_param_names():
        setattr(settings, name, as_python(getattr(estimator, name)))
    settings.activation = units_of(settings.activation, settings.sparsity)
    return settings


def check_settings(estimator: Any, X: Rows, *, partial: bool) -> None:
    """Raise for parameters, each valid by itself, that contradict others or the data.

    A ``partial_fit`` uses fewer of them.
    """
    n_samples = X.shape[0]
    if estimator.sparsity in SELECTIONS:
        _check_selection(estimator)
    else:
        PENALTIES[estimator.sparsity].check(estimator.rho)
    loss = LOSSES[estimator.loss]
    needed = loss.output_activation
    if needed not in (None, estimator.output_activation):
        raise ValueError(
            f"loss={estimator.loss!r} needs output_activation={needed!r}; got "
            f"output_activation={estimator.output_activation!r}."
        )
    if estimator.corruption and estimator.solver == "lbfgs":
        raise ValueError(
            f"corruption={estimator.corruption!r} is drawn anew in each epoch of "
            "mini-batches: use solver='adam' or 'sgd', or set corruption=0."
        )
    if estimator.sparse_output:
        _check_zeros(estimator)
    check_range(X, estimator.loss, estimator.output_activation)
    if estimator.scale == "whiten":
        _check_whitening(estimator, X.shape[1])
    if partial:
        return
    if estimator.checkpoint_dir is not None and estimator.random_state is None:
        raise ValueError(
            "checkpoint_dir needs a random_state: a training goes on from where it "
            "died only if it begins as that one did. Set random_state to an int."
        )
    fraction = estimator.validation_fraction
    if estimator.early_stopping and n_held_out(fraction, n_samples) >= n_samples:
        raise ValueError(
            f"validation_fraction={fraction} of {n_samples} "
            "samples leaves none to train on; lower it."
        )


def _check_selection(estimator: Any) -> None:
    """Raise for what does not go with codes that are selected."""
    name = f"sparsity={estimator.sparsity!r}"
    if estimator.solver == "lbfgs":
        raise ValueError(
            f"{name} selects among the activations, which leaves no gradient that "
            "solver='lbfgs' could follow: use solver='adam'."
        )
    if estimator.activation != SELECTED_ACTIVATION:
        raise ValueError(
            f"{name} keeps the largest activations of units that are 0 when they are "
            f"off: use activation={SELECTED_ACTIVATION!r}, for which 'auto' stands; "
            f"got activation={estimator.activation!r}."
        )
    if estimator.output_activation != "linear":
        raise ValueError(
            f"{name} adds up directions of norm one: use output_activation='linear'; "
            f"got output_activation={estimator.output_activation!r}."
        )


def check_sparse_output(out: Any, settings: FittedSettings) -> None:
    """Raise for sparse codes that are wanted in an array, or that are not sparse."""
    if out is not None:
        raise ValueError(
            "out is for dense codes: set sparse_output=False, or leave out away."
        )
    _check_zeros(settings)


def _check_zeros(settings: Any) -> None:
    """Raise if units are never 0, for codes that are to be stored as sparse ones."""
    if settings.activation != SELECTED_ACTIVATION:
        raise ValueError(
            f"sparse_output=True is for codes that are 0 for units that are off; those "
            f"of activation={settings.activation!r} never are. Use sparsity='topk', "
            "'batchtopk' or 'lifetime', or activation='relu'."
        )


def _check_whitening(estimator: Any, n_features: int) -> None:
    """Raise if the training cannot see whitened data."""
    output_activation = estimator.output_activation
    if output_activation != "linear":
        raise ValueError(
            "scale='whiten' needs output_activation='linear', as no other output can "
            f"give whitened data; got output_activation={output_activation!r}."
        )
    if LOSSES[estimator.loss].is_robust:
        raise ValueError(
            f"scale='whiten' goes by the covariances of X, and loss={estimator.loss!r} "
            "is for data in which values far out set these. Use scale='auto'."
        )
    if n_features > MOST_WHITENED:
        raise ValueError(
            f"scale='whiten' needs the principal axes of all features, at most "
            f"{MOST_WHITENED}; X has {n_features}. Put a PCA(n_components, "
            "whiten=True) before, or a selection of features."
        )


# Parameters that a full batch does not use.
NOT_OF_LBFGS = ("batch_size", "learning_rate", "revive", "rho_hat", "shuffle")

# Parameters of the penalty and its units, which codes that are selected do not have.
NOT_OF_SELECTIONS = ("beta", "rho_hat", "init")

# Parameters that a call of ``partial_fit``, one epoch, has no use for. What tells of
# several epochs, as max_iter, is understood.
NOT_OF_PARTIAL_FIT = ("checkpoint_dir", "early_stopping", "revive")


def warn_of_unused(estimator: Any, *, partial: bool) -> None:
    """Warn of parameters that are not their defaults and that a fit does not read.

    A search over one would find all its candidates alike.
    """
    defaults = inspect.signature(type(estimator)).parameters
    unused: dict[str, str] = {}
    if estimator.solver == "lbfgs":
        unused |= dict.fromkeys(NOT_OF_LBFGS, "solver='lbfgs'")
        if not estimator.early_stopping:
            unused["n_iter_no_change"] = "solver='lbfgs' and early_stopping=False"
    elif not isinstance(estimator.solver, str):
        unused["learning_rate"] = "a Keras optimizer, which brings its own"
    if estimator.sparsity in SELECTIONS:
        unused |= dict.fromkeys(NOT_OF_SELECTIONS, f"sparsity={estimator.sparsity!r}")
    if not estimator.early_stopping:
        unused["validation_fraction"] = "early_stopping=False"
    if not estimator.corruption:
        unused["corruption_kind"] = "corruption=0"
    if partial:
        unused |= dict.fromkeys(NOT_OF_PARTIAL_FIT, "partial_fit")
    told = [
        f"{name}={value!r} has no effect with {reason}"
        for name, reason in sorted(unused.items())
        if (value := getattr(estimator, name)) != defaults[name].default
    ]
    if told:
        warnings.warn(f"{'; '.join(told)}.", UserWarning, stacklevel=6)


def check_continues(estimator: Any, fitted_settings: FittedSettings) -> None:
    """Raise if a parameter differs from that of the training to be continued."""
    for name in CONTINUED:
        value = getattr(fitted_settings, name)
        if getattr(estimator, name) != value:
            raise ValueError(
                f"{name}={getattr(estimator, name)!r} differs from the {value!r} of "
                "the training that is to be continued; set it back, or start afresh "
                "by fit with warm_start=False."
            )


def revives(estimator: Any) -> bool:
    """Return whether inactive units are started anew.

    Units die where codes are selected: after 60 epochs on digits 14 % of 100, and 2 %
    with new starts, which raises the score from .817 to .821, and on data with known
    features from .77 to .79 (benchmarks/bench_dead_units.py).

    A penalty pulls relu units down, and a step too far leaves one at 0 for every row:
    with a rho of .01 a tenth of 1000 on digits, at 13 times the lowest objective known.
    Of 103 settings none ended higher with new starts, and 39 lower. Without a penalty a
    unit that is off costs nothing, and new starts only disturb: 300 on few rows ended
    13 % higher. What a Keras optimizer keeps may have no axis of units.
    """
    if estimator.revive != "auto":
        return bool(estimator.revive)
    if estimator.sparsity in SELECTIONS:
        return True
    is_penalised = estimator.beta != 0 and estimator.solver in ("adam", "sgd")
    return is_penalised and estimator.activation == SELECTED_ACTIVATION


def n_held_out(validation_fraction: float, n_samples: int) -> int:
    """Return how many samples ``early_stopping`` holds out."""
    return math.ceil(validation_fraction * n_samples)


def rows_of_a_batch(
    batch_size: int | str, n_samples: int, largest: int = LARGEST_BATCH
) -> int:
    """Return how many rows a batch has.

    If "auto", a fortieth of all, down to a power of two, from 32 to the largest: few
    values, as each makes a program of its own.
    """
    if batch_size == "auto":
        n_rows = min(max(n_samples // 40, 32), largest)
        batch_size = 1 << (n_rows.bit_length() - 1)
    return int(batch_size)
