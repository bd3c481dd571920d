"""What each unit of a fitted network does on data."""

import numpy as np

from ._forward import row_chunks
from ._objective import ACTIVATION_RANGES, kl_divergence, mean_to_rho_hat

# "collapsed" is a spread below this share of that of a perfect on/off code.
NEGLIGIBLE_SPREAD = 0.05


def unit_table(X, parameters, rho):
    """Return the table that ``SparseAutoencoderTransformer.unit_report`` describes."""
    n_samples, n_units = X.shape[0], parameters.b1.shape[0]
    activation_range = ACTIVATION_RANGES[parameters.activation]
    total, absolute, square = np.zeros((3, n_units))
    maximum, minimum = np.full(n_units, -np.inf), np.full(n_units, np.inf)
    for rows in row_chunks(X, n_units):
        codes = mean_to_rho_hat(
            parameters.encode(X[rows]).astype(np.float64), activation_range
        )
        total += codes.sum(axis=0)
        absolute += np.abs(codes).sum(axis=0)
        square += np.square(codes).sum(axis=0)
        maximum = np.maximum(maximum, codes.max(axis=0))
        minimum = np.minimum(minimum, codes.min(axis=0))
    rho_hat = total / n_samples
    std = np.sqrt(np.maximum(square / n_samples - rho_hat**2, 0))
    columns = {
        "rho_hat": rho_hat,
        "std": std,
        "kl": kl_divergence(rho, rho_hat, np),
        "maximum": maximum,
        "sparseness": hoyer_sparseness(absolute, square, n_samples),
        "encoder_norm": np.linalg.norm(parameters.W1, axis=0),
        "decoder_norm": np.linalg.norm(parameters.W2, axis=1),
        "state": unit_states(maximum, minimum, std, rho),
    }
    try:
        import pandas as pd
    except ImportError:
        table = np.empty(n_units, dtype=[(k, v.dtype) for k, v in columns.items()])
        for name, values in columns.items():
            table[name] = values
        return table
    return pd.DataFrame(columns)


def unit_states(maximum, minimum, std, rho):
    """Name the state of each unit from its activations on [0, 1]."""
    return np.select(
        [
            maximum < rho,
            minimum > 0.5,
            std < NEGLIGIBLE_SPREAD * np.sqrt(rho * (1 - rho)),
        ],
        ["dead", "saturated", "collapsed"],
        "active",
    )


def hoyer_sparseness(absolute, square, n_samples):
    """Return Hoyer's sparseness from sums of absolute values and of squares.

    (sqrt(n) - ||a||_1 / ||a||_2) / (sqrt(n) - 1), of activations a over n samples
    (P. O. Hoyer, JMLR 5, 2004). It is 0 for units that are never active and, where one
    sample leaves it undefined, for a single sample.
    """
    if n_samples == 1:
        return np.zeros_like(square)
    norm = np.sqrt(square)
    ratio = np.divide(
        absolute, norm, out=np.full_like(norm, np.sqrt(n_samples)), where=norm > 0
    )
    return (np.sqrt(n_samples) - ratio) / (np.sqrt(n_samples) - 1)
