"""Differences, intervals and tests of every two rows of a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGITS = 9  # figures are stored as computed, to the last bit


@dataclass(frozen=True, eq=False)
class Pairs:
    """Comparisons of R rows, arrays (R, R) for row i minus row j.

    Attributes:
        difference: mean difference of the objective (fractions, or costs).
        half: half of its paired 95 % interval over seeds and test images, for this pair alone; infinite where it is unknown.
        different: whether the two are told apart, corrected over all pairs of the board.
    """

    difference: NDArray[np.float64]
    half: NDArray[np.float64]
    different: NDArray[np.bool_]

    def of(self, rows: Sequence[int]) -> Pairs:
        """The pairs of some of the rows, in their order; tests stay corrected over all pairs of the board."""
        at = np.ix_(rows, rows)
        return Pairs(self.difference[at], self.half[at], self.different[at])

    def better(self, *, lower: bool) -> NDArray[np.bool_]:
        """(R, R): row i is told apart from row j and better; `lower`: smaller values of the objective are better."""
        return self.different & (self.difference < 0 if lower else self.difference > 0)

    def to_json(self) -> dict[str, Any]:
        """The pairs with i < j as plain values."""
        upper = np.triu_indices(len(self.half), 1)
        half = [value if np.isfinite(value) else None for value in self.half[upper].tolist()]
        return {"difference": self.difference[upper].tolist(), "half": half, "different": self.different[upper].astype(int).tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], R: int) -> Pairs:
        """The pairs of R rows from their plain values."""
        half = [np.inf if value is None else value for value in data["half"]]
        return cls(_full(data["difference"], R, -1), _full(half, R, 1), _full(data["different"], R, 1) > 0)


def rounded(difference: NDArray[np.float64], half: NDArray[np.float64], different: NDArray[np.bool_]) -> Pairs:
    """Pairs with figures rounded to the digits that are stored."""
    return Pairs(np.round(difference, _DIGITS), np.round(half, _DIGITS), different)


def _full(values: Sequence[float], R: int, sign: int) -> NDArray[np.float64]:
    full = np.zeros((R, R))
    full[np.triu_indices(R, 1)] = values
    return full + sign * full.T
