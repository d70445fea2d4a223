"""Paired comparisons of rows on the same test images, corrected for how many are made.

The outcome D[s, n] of seed s on test image n is the difference of two rows' correctness (-1, 0 or 1). Both seeds and images are samples, so its
mean has the variance of a two-way random-effects layout (the multi-reader multi-case analysis of Dorfman, Berbaum and Metz 1992, and its degrees of freedom
after Hillis 2007): ``Var = (MS_images + max(MS_seeds - MS_residual, 0)) / (S N)``. With one line of outcomes this is the paired t test over images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

LEVEL = 0.05
POWER_FACTOR = 1.959964 + 0.841621  # normal quantiles: two-sided 5 % and power 80 %


@dataclass(frozen=True)
class PairedTest:
    """First minus second row: mean difference in accuracy (a fraction), its standard error, degrees of freedom and two-sided p-value."""

    difference: float
    error: float
    degrees: float
    p: float


def paired_test(first: NDArray[np.bool_ | np.floating], second: NDArray[np.bool_ | np.floating]) -> PairedTest:
    """Compare two rows.

    Args:
        first: (S, N) whether seed s was right on image n; seeds in the same order in both, since they share their random axes. (1, N): for a row
            that trains nothing; or, in both, the shares of runs that were right, and then the test covers images only.
        second: the same.
    """
    D = first.astype(np.float32) - second.astype(np.float32)
    S, N = D.shape
    mean = float(D.mean(dtype=np.float64))
    images, seeds = D.mean(0, dtype=np.float64), D.mean(1, dtype=np.float64)
    ss_images = S * float(np.sum((images - mean) ** 2))
    ms_images = ss_images / (N - 1)
    total, spread = ms_images, ms_images**2 / (N - 1)
    if S > 1:
        ss_seeds = N * float(np.sum((seeds - mean) ** 2))
        ss_all = float(np.sum(D * D, dtype=np.float64)) - S * N * mean**2
        ms_seeds = ss_seeds / (S - 1)
        ms_residual = max(ss_all - ss_images - ss_seeds, 0.0) / ((S - 1) * (N - 1))
        if ms_seeds > ms_residual:
            total += ms_seeds - ms_residual
            spread += ms_seeds**2 / (S - 1) + ms_residual**2 / ((S - 1) * (N - 1))
    error = math.sqrt(total / (S * N))
    if error == 0.0:
        return PairedTest(mean, 0.0, float(N - 1), 1.0 if mean == 0.0 else 0.0)
    degrees = total**2 / spread
    return PairedTest(mean, error, degrees, 2.0 * float(stdtr(degrees, -abs(mean) / error)))


def compared_seeds(first: list[int] | None, second: list[int] | None) -> list[int]:
    """The seeds that a comparison of two rows runs over; None for a row that trains nothing, which stands beside every seed of the other."""
    if first is None or second is None:
        return sorted(set(first or second or ()))
    return sorted(set(first) & set(second))


def covers_seeds(first: list[int] | None, second: list[int] | None) -> bool:
    """Whether the comparison of two rows covers what their seeds vary: neither trains, or it runs over two seeds or more."""
    return (first is None and second is None) or len(compared_seeds(first, second)) > 1


def matched(
    first: NDArray[np.bool_], first_seeds: list[int] | None, second: NDArray[np.bool_], second_seeds: list[int] | None
) -> tuple[NDArray[np.bool_ | np.floating], NDArray[np.bool_ | np.floating]]:
    """The outcomes (S, N) of two rows, paired by seed; a row that trains nothing (seeds None) gives its one line (1, N).

    Where fewer than two seeds can be paired, nothing tells how far a row moves with the seed: both rows become the mean (1, N) over their runs, and a test of these
    covers test images only (`covers_seeds` says which).
    """
    seeds = compared_seeds(first_seeds, second_seeds)
    if len(seeds) < 2:
        return first.mean(0, keepdims=True), second.mean(0, keepdims=True)
    return _lines(first, first_seeds, seeds), _lines(second, second_seeds, seeds)


def _lines(outcomes: NDArray[np.bool_], has: list[int] | None, seeds: list[int]) -> NDArray[np.bool_]:
    return outcomes[:1] if has is None else outcomes[[has.index(seed) for seed in seeds]]


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's (1979) step-down adjusted p-values: the chance of one false difference among all is at most the level."""
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


@dataclass(frozen=True)
class Standing:
    """Where a row stands: places `first` to `last` are possible; rows that share a letter of `letters` cannot be told apart."""

    first: int
    last: int
    letters: str

    @property
    def text(self) -> str:
        """For instance `1-3 ab`."""
        places = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{places} {self.letters}"


def standings(better: NDArray[np.bool_]) -> list[Standing]:
    """Standings of R rows, given best first, from `better` (R, R): row i is significantly better than row j.

    A row's best possible place is 1 + the number of rows significantly better than it.
    """
    letters = _letters(better | better.T)
    R = len(better)
    return [Standing(1 + int(better[:, i].sum()), R - int(better[i].sum()), letters[i]) for i in range(R)]


def _letters(different: NDArray[np.bool_]) -> list[str]:
    """Compact letter display by insert and absorb (Piepho 2004): two rows share a letter exactly when they do not differ."""
    R = len(different)
    groups = [frozenset(range(R))]
    for i, j in zip(*np.nonzero(np.triu(different)), strict=True):
        split = []
        for group in groups:
            split += [group - {i}, group - {j}] if i in group and j in group else [group]
        distinct = sorted(set(split), key=len, reverse=True)
        groups = [group for position, group in enumerate(distinct) if not any(group < other for other in distinct[:position])]
    groups.sort(key=lambda group: sorted(group))
    return ["".join(_letter(index) for index, group in enumerate(groups) if row in group) for row in range(R)]


def _letter(index: int) -> str:
    return chr(ord("a") + index % 26) + (str(index // 26) if index >= 26 else "")
