"""What an engine offers to the loop over epochs, and the state of one in arrays."""

import threading
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from .._objective.objective import Losses


class Engine(Protocol):
    """What takes the steps of one model, or of several side by side.

    A Course calls further methods, which not every engine has.
    ``state()``, a tree of arrays and numbers, and ``restore(state)`` serve a
    checkpoint. Of any of the models, ``mark(number)`` and ``go_back(mark, number)``
    serve a rate that may prove too large, and ``replace_units`` a Reviver.
    """

    # Why a minimisation has ended by itself: what failed, or "". None before.
    end: str | None = None

    def epoch(
        self, rates: list, stop: threading.Event | None = None
    ) -> Sequence[Losses | None]:
        """Take an epoch at the rate of each model; KeyboardInterrupt once told to.

        The losses of a model that has found no step to take are None.
        """

    def weights(self, number: int = 0) -> list[np.ndarray]:
        """Return the weights of a model."""

    def rate_now(self, rate: float) -> float:
        """Return what the rate of the only model has fallen to within the epochs."""
        return rate

    def finish(self) -> None:
        """Do what is due after the last epoch, if anything is."""
        return


class State(NamedTuple):
    """What a training by mini-batches begins with, continues from, saves and ends with.

    Its arrays are as a program holds them, in the kernel layout and in the training's
    ``Coordinates``, and, once a step has been taken, in float32.
    """

    weights: list[np.ndarray]  # those of the latest step
    statistic: np.ndarray  # running mean that the penalty acts on, (n_components,)
    # The weights averaged over the latest steps; None for ``weights`` themselves.
    average: list[np.ndarray] | None = None
    # None for an optimizer that begins afresh.
    optimizer_variables: list[np.ndarray] | None = None
    n_batches: float = 0.0  # batches taken, in rows over the size that each had
    n_rows: int = 0  # rows taken, each as often as it was
