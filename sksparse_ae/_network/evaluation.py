"""A network over data: the terms of its objective, and what a fit reports of it."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

from .._objective.penalties import sparsity_penalty, weight_penalty
from .statistics import code_moments
from .units import UnitStatistics
from .validation import NotFinite


def evaluate(X, parameters, loss, penalties, scaling, on_codes=None):
    """Return the terms of the objective on ``X``, and the moments they came from.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        The data as given.
    parameters : Parameters
        The network on the data as given.
    loss : {"squared_error", "log_loss"}
    penalties : Penalties
    scaling : Scaling
        The units that the objective is stated in.
    on_codes : callable, optional
        Is shown the codes of each chunk of rows.

    Returns
    -------
    objective : Bunch
        `total`, `reconstruction`, `weight_decay` and `sparsity`, as floats.
    moments : CodeMoments
    """
    moments = code_moments(X, parameters, loss, scaling.scale, on_codes)
    # The same network in the training's units: what is penalised is its weights.
    W1, _, W2, _ = scaling.unfold(parameters)
    rho, beta, weight_decay = penalties
    terms = Bunch(
        reconstruction=float(moments.reconstruction),
        weight_decay=float(weight_penalty((W1, W2), weight_decay, np)),
        sparsity=float(sparsity_penalty(moments.rho_hat, rho, beta, np)),
    )
    return Bunch(total=sum(terms.values()), **terms), moments


# Fewer samples than this tell little of the units: those of earlier calls count with
# them, as this many at most.
ENOUGH_SAMPLES = 100


class Recent(NamedTuple):
    """The samples that the fitted attributes tell of.

    Attributes
    ----------
    n_samples : float
    reconstruction : float
        Their mean loss.
    units : ndarray
        ``UnitStatistics.table``.
    """

    n_samples: float
    reconstruction: float
    units: np.ndarray

    @classmethod
    def joined(cls, earlier, units, objective, penalties):
        """Return those of a call, which too few are joined by those of earlier ones.

        Parameters
        ----------
        earlier : Recent or None
        units : UnitStatistics
            Of the call. It takes in those of earlier ones.
        objective : Bunch
            Of the call. Its terms become those over all of them.
        penalties : Penalties
        """
        if earlier is not None and units.n_samples < ENOUGH_SAMPLES:
            n_own = units.n_samples
            share = min(1.0, ENOUGH_SAMPLES / earlier.n_samples)
            units.take_in(earlier.units, earlier.n_samples, share)
            rho, beta, _ = penalties
            own = n_own / units.n_samples
            objective.reconstruction *= own
            objective.reconstruction += (1 - own) * earlier.reconstruction
            objective.sparsity = float(sparsity_penalty(units.rho_hat, rho, beta, np))
            objective.total = (
                objective.reconstruction + objective.weight_decay + objective.sparsity
            )
        return cls(float(units.n_samples), objective.reconstruction, units.table)


def fitted_attributes(X, parameters, loss, penalties, scaling, recent=None):
    """Return the attributes of an estimator with this network, trained on ``X``.

    The parameters are those of ``evaluate``; the network is cast to the dtype of ``X``.
    They tell of ``recent`` samples of earlier calls, too, if ``X`` has too few.
    """
    parameters = parameters.astype(X.dtype)
    if not all(np.isfinite(array).all() for array in parameters.arrays):
        raise NotFinite(
            "The training produced weights that are not finite, or that leave the "
            f"range of {X.dtype} in the units of the data."
        )
    units = UnitStatistics(len(parameters.b1), parameters.activation)
    objective, _ = evaluate(X, parameters, loss, penalties, scaling, units.update)
    recent = Recent.joined(recent, units, objective, penalties)
    if not np.isfinite(objective.total):
        raise NotFinite("The objective of the trained network is not finite.")
    return {
        "coefs_": [parameters.W1, parameters.W2],
        "intercepts_": [parameters.b1, parameters.b2],
        "offset_": scaling.offset,
        "scale_": scaling.scale,
        "beta_": float(penalties.beta),
        "weight_decay_": float(penalties.weight_decay),
        "objective_": objective,
        "rho_hat_": units.rho_hat,
        "unit_states_": units.states(penalties.rho),
        "sparseness_": float(units.sparseness.mean()),
        "_recent": recent,
    }
