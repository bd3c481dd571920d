"""A network over data: the terms of its objective, and what a fit reports of it."""

import numpy as np
from sklearn.utils import Bunch

from ._forward import code_moments
from ._objective import sparsity_penalty, weight_penalty
from ._units import UnitStatistics
from ._validation import finite


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


def fitted_attributes(X, parameters, loss, penalties, scaling):
    """Return the attributes of an estimator with this network, trained on ``X``.

    The parameters are those of ``evaluate``; the network is cast to the dtype of ``X``.
    """
    parameters = parameters.astype(X.dtype)
    if not all(np.isfinite(array).all() for array in parameters.arrays):
        raise ValueError(
            "The training produced weights that are not finite, or that leave the "
            f"range of {X.dtype} in the units of the data. Lower learning_rate, or "
            "scale the data (StandardScaler)."
        )
    units = UnitStatistics(len(parameters.b1), parameters.activation)
    objective, moments = evaluate(X, parameters, loss, penalties, scaling, units.update)
    finite(objective.total, "The objective of the trained network")
    return {
        "coefs_": [parameters.W1, parameters.W2],
        "intercepts_": [parameters.b1, parameters.b2],
        "offset_": scaling.offset,
        "scale_": scaling.scale,
        "weight_decay_": float(penalties.weight_decay),
        "objective_": objective,
        "rho_hat_": moments.rho_hat,
        "unit_states_": units.states(penalties.rho),
        "sparseness_": float(units.sparseness.mean()),
    }
