"""The variance over seeds: of a row, and that expected of a row with one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lt_bench.leaderboard.stats.design import Design

KNOWN = 0.4
"""The share of the other rows' degrees of freedom that the variance over seeds of a row may count on. With all of them, ten ties of which two move by 3 points with the seed, the others by none, were split on 9 % of boards."""


@dataclass(frozen=True)
class SeedNoise:
    """Seed noise of a row's objective: variance over seeds of one run's value, the part of it due to the chance of images, and the degrees of freedom of the variance."""

    variance: float
    residual: float
    degrees: float


def seed_noise(outcomes: NDArray, design: Design) -> SeedNoise | None:
    """Seed noise of one row's (S, N) outcomes, from their two-way analysis of variance; None for a single seed."""
    S = len(outcomes)
    if S < 2:
        return None
    values = design.values(outcomes[None])[0]
    apart = design.deviations(lambda part: outcomes[:, part].astype(np.float64))
    residual = sum(float(np.sum((lines - lines.mean(0)) ** 2)) for lines in map(apart, design.parts))
    return SeedNoise(float(values.var(ddof=1)), residual / (S - 1), S - 1.0)


def pooled_noise(rows: list[SeedNoise]) -> SeedNoise | None:
    """Seed noise expected of a row with one seed: the mean over the other rows of its board, weighted by degrees of freedom.

    The degrees of freedom are those of a variance that scatters as these do, ``2 mean^2 / variance``, at most their sum: the more the rows differ in how much their
    seeds matter, the wider the test. Fewer than three rows cannot show how much rows differ, and give one degree. None without rows.
    """
    if not rows:
        return None
    weights = np.array([row.degrees for row in rows])
    values = np.array([row.variance for row in rows])
    mean = float(np.average(values, weights=weights))
    scatter = float(np.average((values - mean) ** 2, weights=weights)) * len(rows) / max(len(rows) - 1, 1)
    degrees = float(weights.sum()) if len(rows) > 2 else 1.0
    if scatter > 0:
        degrees = min(degrees, max(2 * mean**2 / scatter, 1.0))
    return SeedNoise(mean, float(np.average([row.residual for row in rows], weights=weights)), degrees)


def shared_noise(values: list[NDArray[np.float64]]) -> tuple[float, float]:
    """Variance over seeds that the rows of a board have in common, and the degrees of freedom that it adds to those of each.

    Variances of rows scatter by chance, with ``2 / degrees`` of their squared mean, and because rows differ. The rest of the scatter, without chance, says how far a row may rely on the others:
    ``2 / rest`` degrees of freedom (Smyth 2004), at most `KNOWN` times those of all rows but the two with most, since few seeds may not show that some rows differ. Both are 0 for fewer than three rows.

    Args:
        values: the objective of each row with several seeds, (S,) each.
    """
    if len(values) < 3:
        return 0.0, 0.0
    degrees = np.array([len(row) - 1.0 for row in values])
    variances = np.array([row.var(ddof=1) for row in values])
    mean = float(np.average(variances, weights=degrees))
    most = KNOWN * float(np.sort(degrees)[:-2].sum())
    if mean == 0:
        return 0.0, most
    scatter = float(np.average((variances / mean - 1) ** 2, weights=degrees)) * len(values) / (len(values) - 1)
    chance = float(np.average(2 / degrees, weights=degrees))
    rest = max(scatter - chance, 0.0) / (1 + chance)
    return mean, min(most, 2 / rest) if rest else most
