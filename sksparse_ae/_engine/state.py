"""The state of a training by mini-batches: NumPy arrays and numbers only."""

from typing import NamedTuple

import numpy as np


class State(NamedTuple):
    """What a training begins with, continues from, saves and ends with.

    Its arrays are as a program holds them, in the kernel layout and in the training's
    ``Coordinates``, and, once a step has been taken, in float32.
    """

    weights: list[np.ndarray]  # those of the latest step
    statistic: np.ndarray  # running mean that the penalty acts on, (n_components,)
    # The weights averaged over the latest steps; None for ``weights`` themselves.
    average: list[np.ndarray] | None = None
    # None for an optimizer that begins afresh.
    optimizer_variables: list[np.ndarray] | None = None
    n_batches: float = 0.0  # batches taken, in rows over the batch size
