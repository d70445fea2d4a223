"""Paired comparisons of all rows of a board on the same test images.

The outcome D[s, n] of seed s on test image n is the difference of two rows' correctness (-1, 0 or 1). Both seeds and images are samples, so its
mean has the variance of a two-way random-effects layout (the multi-reader multi-case analysis of Dorfman, Berbaum and Metz 1992, and its degrees of freedom
after Hillis 2007): ``Var = (MS_images + max(MS_seeds - MS_residual, 0)) / (S N)``. With one line of outcomes this is the paired t test over images.

Sums of squares of all pairs come from products of matrices of whole numbers, which are exact; so a board of 500 rows takes seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from lt_bench.leaderboard.stats.seed_noise import SeedNoise, seed_noise

LEVEL = 0.05
POWER_FACTOR = 1.959964 + 0.841621  # normal quantiles: two-sided 5 % and power 80 %
_AT_ONCE = 4096  # columns that are float64 at a time
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairedTests:
    """Tests of row i minus row j, each (R, R): mean difference in accuracy (a fraction), its standard error, degrees of freedom and two-sided p-value."""

    difference: Numbers
    error: Numbers
    degrees: Numbers
    p: Numbers


@dataclass(frozen=True, eq=False)
class _Variance:
    """Differences (G, H) of the rows of two groups with their variance, and `scatter`, the sum of ``part^2 / its degrees`` over the parts of the variance."""

    difference: Numbers
    variance: Numbers
    scatter: Numbers


def compare_all(outcomes: Sequence[NDArray[np.bool_]], seeds: Sequence[list[int] | None], expected: SeedNoise | None) -> PairedTests:
    """Compare every two rows by the test that fits their seeds.

    Paired by seed where they share two or more, or where neither trains; else images are paired and seeds are not, and a row with one seed stands on `expected`;
    where that is None too, the two are not told apart at all (an infinite error, p = 1).

    Args:
        outcomes: of each row, (S, N) whether seed s was right on image n.
        seeds: of each row, S of them; None for a row that trains nothing, which stands beside every seed of the other with its first line.
        expected: `pooled_noise` of the board.
    """
    R, N = len(outcomes), outcomes[0].shape[1]
    members: dict[tuple[int, ...] | None, list[int]] = defaultdict(list)
    for row, has in enumerate(seeds):
        members[None if has is None else tuple(has)].append(row)
    groups = [_Group(rows, None if has is None else list(has), [outcomes[row] for row in rows]) for has, rows in members.items()]
    difference, variance, scatter = (np.zeros((R, R)) for _ in range(3))
    for position, first in enumerate(groups):
        for second in groups[position:]:
            found = _paired(first, second) if covers_seeds(first.seeds, second.seeds) else _unpaired(first, second, expected)
            at, back = np.ix_(first.rows, second.rows), np.ix_(second.rows, first.rows)
            difference[back], difference[at] = -found.difference.T, found.difference
            for whole, part in ((variance, found.variance), (scatter, found.scatter)):
                whole[back], whole[at] = part.T, part
    return _student(difference, variance, scatter, N - 1)


class _Group:
    """Rows that have the same seeds: their places on the board, the seeds (None: they train nothing) and their outcomes (rows, S, N)."""

    def __init__(self, rows: list[int], seeds: list[int] | None, outcomes: list[NDArray[np.bool_]]) -> None:
        self.rows, self.seeds = rows, seeds
        self.outcomes = np.stack([one[:1] if seeds is None else one for one in outcomes])

    def lines(self, wanted: list[int]) -> NDArray[np.bool_]:
        """Outcomes (rows, S, N) of the wanted seeds; those of rows that train nothing are the same for each."""
        if self.seeds is None:
            return np.broadcast_to(self.outcomes, (len(self.rows), len(wanted) or 1, self.outcomes.shape[2]))
        return self.outcomes if wanted == self.seeds else self.outcomes[:, [self.seeds.index(seed) for seed in wanted]]

    @property
    def runs_once(self) -> bool:
        """Whether the rows train and have one seed, so that they stand on the noise expected of them."""
        return self.seeds is not None and len(self.seeds) == 1

    def noise(self, expected: SeedNoise | None) -> Numbers:
        """For each row: the share of its seeds in a mean square, their mean square and its degrees of freedom (3, rows); infinite where it is unknown."""
        if self.seeds is None:
            return np.repeat([[0.0], [0.0], [1.0]], len(self.rows), 1)
        noises = [seed_noise(outcomes) or expected or SeedNoise(np.inf, 0.0, 1.0) for outcomes in self.outcomes]
        return np.array([(max(one.mean_square - one.residual, 0.0), one.mean_square, one.degrees) for one in noises]).T


def compared_seeds(first: list[int] | None, second: list[int] | None) -> list[int]:
    """The seeds that a comparison of two rows runs over; None for a row that trains nothing, which stands beside every seed of the other."""
    if first is None or second is None:
        return sorted(set(first or second or ()))
    return sorted(set(first) & set(second))


def covers_seeds(first: list[int] | None, second: list[int] | None) -> bool:
    """Whether the comparison of two rows covers what their seeds vary: neither trains, or it runs over two seeds or more."""
    return (first is None and second is None) or len(compared_seeds(first, second)) > 1


def _paired(first: _Group, second: _Group) -> _Variance:
    seeds = compared_seeds(first.seeds, second.seeds)
    a, b = first.lines(seeds), second.lines(seeds)
    _, S, N = a.shape
    by_seed = a.sum(2)[:, None] - b.sum(2)[None]  # (G, H, S) numbers of images
    total = by_seed.sum(2)
    whole = total**2 / (S * N)
    ss_images = _squared_distances(a.sum(1, dtype=np.int32), b.sum(1, dtype=np.int32)) / S - whole
    variance = ss_images / (N - 1)
    scatter = variance**2 / (N - 1)
    if S > 1:
        ss_seeds = (by_seed**2).sum(2) / N - whole
        ss_all = _squared_distances(a.reshape(len(a), S * N), b.reshape(len(b), S * N)) - whole
        ms_seeds, ms_residual = ss_seeds / (S - 1), np.maximum(ss_all - ss_images - ss_seeds, 0.0) / ((S - 1) * (N - 1))
        more = ms_seeds > ms_residual
        variance = variance + np.where(more, ms_seeds - ms_residual, 0.0)
        scatter = scatter + np.where(more, ms_seeds**2 / (S - 1) + ms_residual**2 / ((S - 1) * (N - 1)), 0.0)
    return _Variance(total / (S * N), variance / (S * N), scatter / (S * N) ** 2)


def _unpaired(first: _Group, second: _Group, expected: SeedNoise | None) -> _Variance:
    """Rows that share fewer than two seeds: images are paired, seeds are not.

    ``Var = MS_images / N + sum over rows of max(MS_seeds - MS_residual, 0) / (S N)``, the first of the difference of the rows' means over their runs. The second part is
    positive and unpaired, so it does not count on runs of equal seed being alike.
    """
    a, b = first.outcomes, second.outcomes
    (_, S, N), T = a.shape, b.shape[1]
    difference = (a.sum((1, 2))[:, None] * T - b.sum((1, 2))[None] * S) / (S * T * N)
    squares = _squared_distances(T * a.sum(1, dtype=np.int32), S * b.sum(1, dtype=np.int32)) / (S * T) ** 2
    variance = (squares - N * difference**2) / (N - 1) / N
    scatter = variance**2 / (N - 1)
    for group, runs, axis in ((first, S, 1), (second, T, 0)):
        excess, mean_square, degrees = np.expand_dims(group.noise(expected), axis + 1)
        variance = variance + excess / (runs * N)
        scatter = scatter + np.where(excess > 0, (mean_square / (runs * N)) ** 2 / degrees, 0.0)
    if expected is not None and expected.mean_square > expected.residual and first.runs_once and second.runs_once:
        scatter = scatter + 2 * (expected.mean_square / N) ** 2 / expected.degrees  # both stand on one estimate: (x + x)^2, not x^2 + x^2
    return _Variance(difference, variance, scatter)


def _squared_distances(a: NDArray[np.integer | np.bool_], b: NDArray[np.integer | np.bool_]) -> Numbers:
    """Sums of squares (G, H) of the differences of each line of a (G, n) and of b (H, n), whole numbers: exact."""
    products = np.zeros((len(a), len(b)))
    for start in range(0, a.shape[1], _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        products += a[:, part].astype(np.float64) @ b[:, part].astype(np.float64).T
    of_a, of_b = (np.array([np.square(line, dtype=np.int64).sum() for line in one], dtype=np.float64) for one in (a, b))
    return of_a[:, None] + of_b[None] - 2 * products


def _student(difference: Numbers, variance: Numbers, scatter: Numbers, most_degrees: int) -> PairedTests:
    """Student's t tests of differences whose variances have several parts: ``degrees = variance^2 / scatter`` (Satterthwaite)."""
    error = np.sqrt(np.maximum(variance, 0.0))
    certain, unknown = error == 0.0, np.isinf(error)
    usual = ~(certain | unknown)
    degrees = np.where(unknown, 1.0, float(most_degrees))
    np.divide(variance**2, scatter, out=degrees, where=usual)
    p = np.where(unknown | (difference == 0.0), 1.0, 0.0)
    p[usual] = 2.0 * stdtr(degrees[usual], -np.abs(difference[usual]) / error[usual])
    return PairedTests(difference, error, degrees, p)
