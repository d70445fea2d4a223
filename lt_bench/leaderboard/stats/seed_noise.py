"""The variance over seeds: of a row, and that expected of a row with one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SeedNoise:
    """Variation of a row's runs with the seed: mean square over seeds of (S, N) outcomes, the residual mean square in it, degrees of freedom of the former."""

    mean_square: float
    residual: float
    degrees: float


def seed_noise(outcomes: NDArray[np.bool_]) -> SeedNoise | None:
    """Seed noise of one row's (S, N) outcomes, from their two-way analysis of variance; None for a single seed."""
    S, N = outcomes.shape
    if S < 2:
        return None
    images, seeds = outcomes.mean(0, dtype=np.float64), outcomes.mean(1, dtype=np.float64)
    mean = float(seeds.mean())
    ss_images, ss_seeds = S * float(np.sum((images - mean) ** 2)), N * float(np.sum((seeds - mean) ** 2))
    residual = max(S * N * mean * (1 - mean) - ss_images - ss_seeds, 0.0)
    return SeedNoise(ss_seeds / (S - 1), residual / ((S - 1) * (N - 1)), S - 1.0)


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
