"""Paired comparisons of all rows of a board on the same test images.

The outcome D[s, n] of seed s on test image n is the difference of what the image is worth in two rows (whether it is right, or its cost), times the weight of the image in the
objective. Seeds and images are both samples, so the sum of D over images, averaged over seeds, has the variance of a two-way random-effects layout (the multi-reader multi-case analysis of
Dorfman, Berbaum and Metz 1992, and its degrees of freedom after Hillis 2007): that over images of the mean over seeds, in the strata of a `Design`, plus that over seeds where it is more than images'
own chance makes it, row by row: rows can hang on their seeds very differently. With one line of outcomes and one stratum this is the paired t test over images. The few images of a stratum often all
agree, and then show no variance; what ``drawn_variance`` adds for them to the interval of a row is added to the variance of a pair, too.

Squared distances of all pairs come from products of matrices; so a board of 500 rows takes seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from lt_bench.leaderboard.stats.design import Columns, Design
from lt_bench.leaderboard.stats.seed_noise import SeedNoise, seed_noise, shared_noise
from lt_bench.leaderboard.stats.shares import DRAWN, overall_variance

LEVEL = 0.05
POWER_FACTOR = 1.959964 + 0.841621  # normal quantiles: two-sided 5 % and power 80 %
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairedTests:
    """Tests of row i minus row j, each (R, R): mean difference of the objective, its standard error, degrees of freedom and two-sided p-value."""

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


def compare_all(
    outcomes: Sequence[NDArray], seeds: Sequence[list[int] | None], expected: SeedNoise | None, design: Design, reach: float = 0.0
) -> PairedTests:
    """Compare every two rows by the test that fits their seeds.

    Paired by seed where they share two or more, or where neither trains; else images are paired and seeds are not, and a row with one seed stands on `expected`;
    where that is None too, the two are not told apart at all (an infinite error, p = 1).

    Args:
        outcomes: of each row, (S, N) what image n is worth with seed s.
        seeds: of each row, S of them; None for a row that trains nothing, which stands beside every seed of the other with its first line.
        expected: `pooled_noise` of the board.
        design: weights and strata of the N images.
        reach: the largest difference that two images can make, for the variance of few images that agree; 0 takes images as they are.
    """
    R = len(outcomes)
    members: dict[tuple[int, ...] | None, list[int]] = defaultdict(list)
    for row, has in enumerate(seeds):
        members[None if has is None else tuple(has)].append(row)
    groups = [_Group(rows, None if has is None else list(has), [outcomes[row] for row in rows], design) for has, rows in members.items()]
    degrees = design.degrees([group.mean(list(range(group.outcomes.shape[1]))) for group in groups])
    shared = shared_noise([values for group in groups if group.seeds is not None and len(group.seeds) > 1 for values in group.values])
    difference, variance, scatter = (np.zeros((R, R)) for _ in range(3))
    noises = [group.noise(expected, shared) for group in groups]
    for position, first in enumerate(groups):
        for later, second in enumerate(groups[position:], position):
            found = _apart(first, second, (noises[position], noises[later]), expected, degrees)
            at, back = np.ix_(first.rows, second.rows), np.ix_(second.rows, first.rows)
            difference[back], difference[at] = -found.difference.T, found.difference
            for whole, part in ((variance, found.variance), (scatter, found.scatter)):
                whole[back], whole[at] = part.T, part
    added = added_variance(np.stack([one.mean(0, dtype=np.float64) for one in outcomes]), design, reach) if reach else np.zeros((R, R))
    return student(difference, variance, added, scatter, degrees)


def added_variance(worth: Numbers, design: Design, reach: float) -> Numbers:
    """Excess (R, R) of ``drawn_variance`` over the plain variance of images, for differences between every two rows of ``worth`` (R, N)."""
    strata, sizes = design.columns
    shares, values = design.units(worth)
    apart, kept = design.deviations(lambda part: worth[:, part]), (sizes - 1) / (sizes - 1 + DRAWN)
    plain = _squared_distances(apart, apart, design.parts)
    own = kept[0] * plain if len(sizes) == 1 else _of_columns(design, apart, np.sqrt(kept)[strata])
    each = np.bincount(strata, shares**2, len(sizes))
    mean, square = np.subtract.outer(values @ shares, values @ shares), _of_columns(design, lambda part: values[:, part], np.sqrt(shares))
    drawn = own + (DRAWN * each / (sizes - 1 + DRAWN)).sum() * overall_variance(mean, square, 1 / each.sum(), reach)
    return np.maximum(drawn - plain, 0.0)


def _of_columns(design: Design, columns: Columns, scale: Numbers) -> Numbers:
    """Sums of squares (R, R) of the differences between every two rows of ``columns``, scaled by ``scale`` (N,)."""

    def scaled(part: slice) -> Numbers:
        return columns(part) * scale[part]

    return _squared_distances(scaled, scaled, design.parts)


class _Group:
    """Rows that have the same seeds: their places on the board, the seeds (None: they train nothing) and their outcomes (rows, S, N)."""

    def __init__(self, rows: list[int], seeds: list[int] | None, outcomes: list[NDArray], design: Design) -> None:
        self.rows, self.seeds, self.design = rows, seeds, design
        self.outcomes = np.stack([one[:1] if seeds is None else one for one in outcomes])
        self.values = design.values(self.outcomes)

    def places(self, wanted: list[int] | None) -> list[int]:
        """Places of the wanted seeds among the outcomes, None for all; those of rows that train nothing are the same for each."""
        if wanted is None:
            return list(range(self.outcomes.shape[1]))
        return [0] * (len(wanted) or 1) if self.seeds is None else [self.seeds.index(seed) for seed in wanted]

    def mean(self, places: list[int]) -> Columns:
        """Deviations (rows, N) of the mean over seeds."""
        return self.design.deviations(lambda part: self.outcomes[:, places, part].mean(1, dtype=np.float64))

    @property
    def runs_once(self) -> bool:
        """Whether the rows train and have one seed, so that they stand on the noise expected of them."""
        return self.seeds is not None and len(self.seeds) == 1

    def noise(self, expected: SeedNoise | None, shared: tuple[float, float]) -> Numbers:
        """For each row (3, rows): the variance that seeds add to a run beyond the images' own chance, the variance of a run over seeds, and its degrees of freedom; variances are infinite where unknown.

        Few seeds estimate the variance badly, so it is shrunk toward that of the board (Smyth 2004), and it is at least the images' own chance: seeds that happen to agree do not prove that a row does not depend on them.
        """
        if self.seeds is None:
            return np.repeat([[0.0], [0.0], [1.0]], len(self.rows), 1)
        usual, more = shared
        result = []
        for outcomes in self.outcomes:
            one, variance, degrees = seed_noise(outcomes, self.design), 0.0, 0.0
            if one is None:
                one = expected or SeedNoise(np.inf, 0.0, 1.0)
                variance, degrees = one.variance, one.degrees
            else:
                degrees = one.degrees + more
                variance = (one.degrees * one.variance + more * usual) / degrees
            over_seeds = max(variance, one.residual)
            result.append((over_seeds - one.residual, over_seeds, degrees))
        return np.array(result).T


def compared_seeds(first: list[int] | None, second: list[int] | None) -> list[int]:
    """The seeds that a comparison of two rows runs over; None for a row that trains nothing, which stands beside every seed of the other."""
    if first is None or second is None:
        return sorted(set(first or second or ()))
    return sorted(set(first) & set(second))


def covers_seeds(first: list[int] | None, second: list[int] | None) -> bool:
    """Whether the comparison of two rows covers what their seeds vary: neither trains, or it runs over two seeds or more."""
    return (first is None and second is None) or len(compared_seeds(first, second)) > 1


def _apart(first: _Group, second: _Group, noises: tuple[Numbers, Numbers], expected: SeedNoise | None, degrees: float) -> _Variance:
    """Differences of two groups of rows, on their common seeds where those cover both, else on all.

    The variance over images is that of the difference between the rows' means over runs. Each row adds to it the variance that seeds add to a run, divided by its number of runs;
    this part is unpaired, so it does not assume that runs of equal seed are alike.
    """
    seeds = compared_seeds(first.seeds, second.seeds) if covers_seeds(first.seeds, second.seeds) else None
    at, other = (group.places(seeds) for group in (first, second))
    mean = first.mean(at)
    variance = _squared_distances(mean, mean if second is first and at == other else second.mean(other), first.design.parts)
    scatter = variance**2 / degrees
    for noise, runs, axis in ((noises[0], len(at), 1), (noises[1], len(other), 0)):
        excess, over_seeds, own = np.expand_dims(noise, axis + 1)
        variance = variance + excess / runs
        scatter = scatter + (over_seeds / runs) ** 2 / own
    if expected is not None and first.runs_once and second.runs_once:
        scatter = (
            scatter + 2 * max(expected.variance, expected.residual) ** 2 / expected.degrees
        )  # both stand on one estimate: (x + x)^2, not x^2 + x^2
    return _Variance(first.values[:, at].mean(1)[:, None] - second.values[:, other].mean(1)[None], variance, scatter)


def _squared_distances(first: Columns, second: Columns, parts: Sequence[slice]) -> Numbers:
    """Sums of squares (G, H) of the differences of each line of one array (G, N) and of another (H, N)."""
    total = 0.0
    for part in parts:
        a = first(part)
        b = a if second is first else second(part)
        squares = [np.einsum("ij,ij->i", one, one) for one in (a, b)]
        total = total + squares[0][:, None] + squares[1][None] - 2 * (a @ b.T)
    return np.maximum(total, 0.0)


def student(difference: Numbers, variance: Numbers, added: Numbers, scatter: Numbers, most_degrees: float) -> PairedTests:
    """Student's t tests of differences whose variance has several parts, plus ``added``, which does not count for the degrees of freedom: ``degrees = variance^2 / scatter`` (Satterthwaite)."""
    error = np.sqrt(np.maximum(variance, 0.0) + added)
    certain, unknown = error == 0.0, np.isinf(error)
    usual = ~(certain | unknown)
    degrees = np.where(unknown, 1.0, most_degrees)
    np.divide(variance**2, scatter, out=degrees, where=usual & (scatter > 0))
    p = np.where(unknown | (difference == 0.0), 1.0, 0.0)
    p[usual] = 2.0 * stdtr(degrees[usual], -np.abs(difference[usual]) / error[usual])
    return PairedTests(difference, error, degrees, p)
