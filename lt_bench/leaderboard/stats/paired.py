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

from lt_bench.leaderboard.boards import Standing

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
        first: (S, N) whether seed s was right on image n; seeds in the same order in both, since they share their random axes. (1, N) for a row
            that trains nothing.
        second: the same.
    """
    D = first.astype(np.float32) - second.astype(np.float32)
    S, N = D.shape
    squares = mean_squares(D)
    total, scatter = squares.images, squares.images**2 / (N - 1)
    if S > 1 and squares.seeds > squares.residual:
        total += squares.seeds - squares.residual
        scatter += squares.seeds**2 / (S - 1) + squares.residual**2 / ((S - 1) * (N - 1))
    return _tested(float(D.mean(dtype=np.float64)), total / (S * N), scatter / (S * N) ** 2, N - 1)


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of outcomes (S, N) over images, over seeds and of the residual; the latter two are 0 for one seed."""

    images: float
    seeds: float
    residual: float


def mean_squares(outcomes: NDArray[np.bool_ | np.floating]) -> MeanSquares:
    """The two-way analysis of variance of (S, N) outcomes, one a cell."""
    D = outcomes.astype(np.float32, copy=False)
    S, N = D.shape
    mean = float(D.mean(dtype=np.float64))
    images, seeds = D.mean(0, dtype=np.float64), D.mean(1, dtype=np.float64)
    ss_images = S * float(np.sum((images - mean) ** 2))
    if S == 1:
        return MeanSquares(ss_images / (N - 1), 0.0, 0.0)
    ss_seeds = N * float(np.sum((seeds - mean) ** 2))
    ss_all = float(np.sum(D * D, dtype=np.float64)) - S * N * mean**2
    return MeanSquares(ss_images / (N - 1), ss_seeds / (S - 1), max(ss_all - ss_images - ss_seeds, 0.0) / ((S - 1) * (N - 1)))


def _tested(difference: float, variance: float, scatter: float, most_degrees: int) -> PairedTest:
    """Student's t test of a difference with a variance of several parts: ``degrees = variance^2 / scatter`` (Satterthwaite), `scatter` the sum of ``part^2 / its degrees``."""
    error = math.sqrt(variance)
    if error == 0.0:
        return PairedTest(difference, 0.0, float(most_degrees), 1.0 if difference == 0.0 else 0.0)
    degrees = variance**2 / scatter
    return PairedTest(difference, error, degrees, 2.0 * float(stdtr(degrees, -abs(difference) / error)))


@dataclass(frozen=True)
class SeedNoise:
    """Variation of a row's runs with the seed: mean square over seeds of (S, N) outcomes, the residual mean square in it, degrees of freedom of the former."""

    mean_square: float
    residual: float
    degrees: float


def seed_noise(outcomes: NDArray[np.bool_]) -> SeedNoise | None:
    """Seed noise of one row's (S, N) outcomes; None for a single seed."""
    if len(outcomes) < 2:
        return None
    squares = mean_squares(outcomes)
    return SeedNoise(squares.seeds, squares.residual, len(outcomes) - 1.0)


def pooled_noise(rows: list[SeedNoise]) -> SeedNoise | None:
    """Seed noise expected of a row with one seed: the mean over the other rows of its board, weighted by degrees of freedom.

    The degrees of freedom are those of a variance that scatters as these do, ``2 mean^2 / variance``, at most their sum: the more the rows differ in how much their
    seeds matter, the wider the test. Fewer than three rows do not tell how much they differ: one degree. None without rows.
    """
    if not rows:
        return None
    weights = np.array([row.degrees for row in rows])
    values = np.array([row.mean_square for row in rows])
    mean = float(np.average(values, weights=weights))
    scatter = float(np.average((values - mean) ** 2, weights=weights)) * len(rows) / max(len(rows) - 1, 1)
    degrees = float(weights.sum()) if len(rows) > 2 else 1.0
    if scatter > 0:
        degrees = min(degrees, max(2 * mean**2 / scatter, 1.0))
    return SeedNoise(mean, float(np.average([row.residual for row in rows], weights=weights)), degrees)


def unpaired_test(
    first: NDArray[np.bool_], first_noise: SeedNoise | None, second: NDArray[np.bool_], second_noise: SeedNoise | None
) -> PairedTest:
    """Compare two rows that share fewer than two seeds: images are paired, seeds are not.

    ``Var = MS_images / N + sum over rows of max(MS_seeds - MS_residual, 0) / (S N)``, the first of the difference of the rows' means over their runs. The second part is positive
    and unpaired, so it does not count on runs of equal seed being alike.

    Args:
        first: (S, N) whether seed s was right on image n.
        first_noise: the row's own, or `pooled_noise` for a row with one seed; None for a row that trains nothing.
        second: the same, its seeds others.
        second_noise: the same.
    """
    D = first.mean(0, keepdims=True, dtype=np.float64) - second.mean(0, keepdims=True, dtype=np.float64)
    N = D.shape[1]
    variance = mean_squares(D).images / N
    scatter = variance**2 / (N - 1)
    shared: dict[SeedNoise, float] = {}
    for outcomes, noise in ((first, first_noise), (second, second_noise)):
        if noise is not None and noise.mean_square > noise.residual:
            shared[noise] = shared.get(noise, 0.0) + 1 / (len(outcomes) * N)
    for noise, factor in shared.items():  # two rows may stand on one estimate
        variance += factor * (noise.mean_square - noise.residual)
        scatter += (factor * noise.mean_square) ** 2 / noise.degrees
    return _tested(float(D.mean()), variance, scatter, N - 1)


def untested(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedTest:
    """Two rows of which nothing tells how far they move with the seed: their difference, an infinite error, p = 1."""
    return PairedTest(float(first.mean(dtype=np.float64) - second.mean(dtype=np.float64)), math.inf, 1.0, 1.0)


def compared_seeds(first: list[int] | None, second: list[int] | None) -> list[int]:
    """The seeds that a comparison of two rows runs over; None for a row that trains nothing, which stands beside every seed of the other."""
    if first is None or second is None:
        return sorted(set(first or second or ()))
    return sorted(set(first) & set(second))


def covers_seeds(first: list[int] | None, second: list[int] | None) -> bool:
    """Whether the comparison of two rows covers what their seeds vary: neither trains, or it runs over two seeds or more."""
    return (first is None and second is None) or len(compared_seeds(first, second)) > 1


def compared(
    first: NDArray[np.bool_],
    first_seeds: list[int] | None,
    second: NDArray[np.bool_],
    second_seeds: list[int] | None,
    expected: SeedNoise | None,
) -> PairedTest:
    """Compare two rows by the test that fits their seeds (None for a row that trains nothing, which gives its first line (1, N)).

    Paired by seed where they share two or more; else unpaired over seeds, a row with one seed standing on `expected` (`pooled_noise` of the board);
    where that is None too, they are not told apart at all (`untested`).
    """
    seeds = compared_seeds(first_seeds, second_seeds)
    if covers_seeds(first_seeds, second_seeds):
        return paired_test(_lines(first, first_seeds, seeds), _lines(second, second_seeds, seeds))
    noises = [None if has is None else seed_noise(outcomes) or expected for outcomes, has in ((first, first_seeds), (second, second_seeds))]
    if any(noise is None and has is not None for noise, has in zip(noises, (first_seeds, second_seeds), strict=True)):
        return untested(first, second)
    return unpaired_test(first, noises[0], second, noises[1])


def _lines(outcomes: NDArray[np.bool_], has: list[int] | None, seeds: list[int]) -> NDArray[np.bool_]:
    return outcomes[:1] if has is None else outcomes[[has.index(seed) for seed in seeds]]


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's (1979) step-down adjusted p-values: the chance of one false difference among all is at most the level."""
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


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
