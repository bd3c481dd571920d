"""A histogram of each unit's activations, and the samples that activate it most."""

import numpy as np

from .._network.autoencoder import Parameters
from .._network.reading import Rows, row_chunks
from .._objective.activations import ACTIVATIONS, mean_to_rho_hat

N_BINS = 24
N_TOP_SAMPLES = 8


def unit_profiles(
    X: Rows, parameters: Parameters, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Profile the units in one pass, in memory that does not grow with the samples.

    Returned are, one row a unit, the samples in each of ``N_BINS`` equal bins from 0 to
    the unit's positive end in ``upper``; the rows that activate it most, the strongest
    first, of equal ones the first; and their activations, on [0, 1] for tanh units.
    """
    n_units = parameters.b1.shape[0]
    activation_range = ACTIVATIONS[parameters.activation].unit_range
    bins_per_activation = (N_BINS / upper).astype(X.dtype)
    first_bins = N_BINS * np.arange(n_units)
    counts = np.zeros(n_units * N_BINS, dtype=np.int64)
    activations = np.empty((0, n_units), dtype=X.dtype)
    samples = np.empty((0, n_units), dtype=np.int64)
    for rows in row_chunks(X, n_units):
        codes = mean_to_rho_hat(parameters.encode(X[rows]), activation_range)
        bins = (codes * bins_per_activation).astype(np.int64)
        np.clip(bins, 0, N_BINS - 1, out=bins)
        bins += first_bins
        counts += np.bincount(bins.ravel(), minlength=counts.size)
        chosen = _largest(codes, N_TOP_SAMPLES)
        activations = np.vstack([activations, np.take_along_axis(codes, chosen, 0)])
        samples = np.vstack([samples, chosen + rows.start])
        chosen = _largest(activations, N_TOP_SAMPLES)
        activations = np.take_along_axis(activations, chosen, 0)
        samples = np.take_along_axis(samples, chosen, 0)
    return counts.reshape(n_units, N_BINS), samples.T, activations.T


def _largest(values: np.ndarray, n_largest: int) -> np.ndarray:
    """Return the rows of each column's largest values; ties go to the first row."""
    values = values.copy()
    chosen = np.empty((min(n_largest, len(values)), values.shape[1]), dtype=np.int64)
    for place in chosen:
        values.argmax(axis=0, out=place)
        np.put_along_axis(values, place[np.newaxis], -np.inf, axis=0)
    return chosen
