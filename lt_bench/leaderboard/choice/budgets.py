"""Worth of a tuning budget: the expected test figure of the point that ranks first on validation among n random points of a grid, in closed form. NumPy only.

The test set chooses nothing: points are ranked by validation alone, and the test figures say what such a choice is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Points:
    """The points of a strategy's grid with their test figures.

    Attributes:
        strategy: its name.
        test: (P,) test figure of each point, ordered by validation, the best first.
    """

    strategy: str
    test: Numbers

    @classmethod
    def of(cls, strategy: str, validation: Numbers, test: Numbers, *, lower: bool = False) -> Points:
        """Rank points by validation (P,); values that agree to 1e-9 keep the order of the grid, as in ``tune``. ``lower``: smaller is better."""
        order = np.argsort((1 if lower else -1) * np.round(validation, 9), kind="stable")
        return cls(strategy, test[order])

    def __len__(self) -> int:
        return len(self.test)

    def expected(self, budget: int) -> float:
        """Expected test figure of the point that ranks first on validation among ``budget`` random points."""
        return float(probabilities(len(self), budget) @ self.test)

    def deviation(self, budget: int) -> float:
        """Standard deviation of that figure over random budgets."""
        return float(np.sqrt(probabilities(len(self), budget) @ (self.test - self.expected(budget)) ** 2))


def probabilities(points: int, budget: int) -> Numbers:
    """(P,) probability that the point of each rank is the best of ``budget`` different points drawn at random; a smaller grid is tried whole.

    Of rank r it is C(P - r, n - 1) / C(P, n): the others of the n points rank behind it.
    """
    n, ranks = min(budget, points), np.arange(1, points)
    ratios = np.maximum(points - ranks - n + 1, 0) / (points - ranks)  # of each rank to the one before
    return n / points * np.concatenate(([1.0], np.cumprod(ratios)))


def first_on_test(of: Sequence[Points], budget: int, *, lower: bool = False) -> list[float]:
    """Probability, for each strategy, that its choice on validation among ``budget`` random points has the best test figure of all strategies' choices; draws are independent, and the first of equal strategies counts."""
    sign = -1 if lower else 1
    values = [sign * one.test for one in of]
    chances = [probabilities(len(one), budget) for one in of]
    result = []
    for mine, own in enumerate(values):
        ahead = np.ones(len(own))
        for other, theirs in enumerate(values):
            if other != mine:
                beaten = theirs[None] <= own[:, None] if other > mine else theirs[None] < own[:, None]
                ahead *= beaten @ chances[other]
        result.append(float(chances[mine] @ ahead))
    return result
