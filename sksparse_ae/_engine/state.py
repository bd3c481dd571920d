"""The state of a training by mini-batches: NumPy arrays and numbers only."""

from typing import NamedTuple

import numpy as np


class State(NamedTuple):
    """What a training begins with, continues from, saves and ends with.

    Its arrays are as a program holds them, in the kernel layout and in the training's
    ``Coordinates``, and, once a step has been taken, in float32.

    Attributes
    ----------
    weights : list of ndarray
        Those of the latest step.
    statistic : ndarray of shape (n_components,)
        Running mean that the penalty acts on.
    average : list of ndarray or None
        The weights averaged over the latest steps; None for ``weights`` themselves.
    optimizer_variables : list of ndarray or None
        None for an optimizer that begins afresh.
    n_batches : float
        Batches taken, in rows over the batch size.
    """

    weights: list
    statistic: np.ndarray
    average: list | None = None
    optimizer_variables: list | None = None
    n_batches: float = 0.0
