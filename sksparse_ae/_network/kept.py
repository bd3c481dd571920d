"""What a fitted network keeps of the activations of its units, and in its exports."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .._objective.selections import SELECTIONS


class Node(NamedTuple):
    """An operator of ONNX, with the names of what it reads and makes."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Kept(ABC):
    """Which activations of a row stay in its code, whatever the other rows are.

    ``nodes`` are operators of ONNX that make "codes" of "active" and of ``constants``.
    ``module_code`` is an expression of Python for the same, of ``codes`` and of the
    array, ``KEPT``.
    """

    array: np.ndarray
    module_code: ClassVar[str]

    @abstractmethod
    def astype(self, dtype: DTypeLike) -> "Kept":
        """Return the rule for activations of a dtype."""

    @abstractmethod
    def least(self, activations: np.ndarray) -> np.ndarray:
        """Return the least activation that stays, which broadcasts to activations."""

    @abstractmethod
    def constants(self, dtype: np.dtype) -> dict[str, np.ndarray]:
        """Return what the nodes read beside the activations."""

    @abstractmethod
    def nodes(self) -> list[Node]:
        """Return the operators."""

    def keep(self, activations: np.ndarray) -> None:
        """Let activations of 0 or more that do not stay become 0."""
        activations *= activations >= self.least(activations)


class Threshold(Kept):
    """Activations below a value become 0: one for all units, or one for each."""

    module_code = "codes * (codes >= KEPT.astype(codes.dtype))"

    def astype(self, dtype: DTypeLike) -> "Threshold":
        """Return the rule for activations of a dtype."""
        return Threshold(np.asarray(self.array, dtype=dtype))

    def least(self, activations: np.ndarray) -> np.ndarray:
        """Return the threshold."""
        return self.array

    def constants(self, dtype: np.dtype) -> dict[str, np.ndarray]:
        """Return the threshold, and what the others become."""
        return {"least": np.atleast_1d(self.array), "zero": np.zeros(1, dtype)}

    def nodes(self) -> list[Node]:
        """Return the operators."""
        return [
            Node("Less", ["active", "least"], ["is_off"]),
            Node("Where", ["is_off", "zero", "active"], ["codes"]),
        ]


class LargestOfRow(Kept):
    """So many of the largest activations of a row stay; equal ones stay together.

    The array is their number.
    """

    module_code = (
        "codes * (codes >= np.partition(codes, -KEPT)[..., N_COMPONENTS - KEPT, None])"
    )

    def astype(self, dtype: DTypeLike) -> "LargestOfRow":
        """Return the rule itself."""
        return self

    def least(self, activations: np.ndarray) -> np.ndarray:
        """Return the least of each row that stays."""
        place = activations.shape[-1] - int(self.array)
        return np.partition(activations, place)[..., place, None]

    def constants(self, dtype: np.dtype) -> dict[str, np.ndarray]:
        """Return the number, where the last of them is, and what the others become."""
        number = np.atleast_1d(self.array)
        axis, zero = np.array([1]), np.zeros(1, dtype)
        return {"number": number, "last": number - 1, "axis": axis, "zero": zero}

    def nodes(self) -> list[Node]:
        """Return the operators."""
        return [
            Node("TopK", ["active", "number"], ["largest", "places"]),
            Node("Slice", ["largest", "last", "number", "axis"], ["least"]),
            Node("Less", ["active", "least"], ["is_off"]),
            Node("Where", ["is_off", "zero", "active"], ["codes"]),
        ]


def kept_of_row(sparsity: str, rho: float, n_units: int) -> Kept | None:
    """Return what the settings alone say of each row.

    None is for all activations, and for selections whose thresholds are to be found.
    """
    selection = SELECTIONS.get(sparsity)
    if selection is None or selection.needs_threshold:
        return None
    share = float(selection.wanted_share(rho, n_units, np))
    return LargestOfRow(np.array(round(share * n_units)))
