"""Paired bootstrap over test images: the same resampled images for every row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Resampled:
    """Resampled accuracies (B, R): B resamples of the test images, R rows, the same images for all rows of a resample."""

    accuracies: NDArray[np.float64]

    def interval(self, row: int) -> tuple[float, float]:
        """95 % percentile interval of a row's accuracy over test images."""
        return _percentiles(self.accuracies[:, row])

    def difference(self, row: int, other: int) -> tuple[float, float]:
        """95 % percentile interval of the paired difference, row minus other."""
        return _percentiles(self.accuracies[:, row] - self.accuracies[:, other])


def resample(correct: NDArray[np.floating], resamples: int = RESAMPLES, seed: int = 0) -> Resampled:
    """Draw test images with replacement.

    Args:
        correct: (R, N) share of a row's seeds that are right on an image.
        resamples: B.
        seed: of the draws, the same for every board, so that a table is reproducible.
    """
    N = correct.shape[1]
    draws = np.random.default_rng(seed)
    values = correct.T.astype(np.float32)
    step = max(1, 4_000_000 // N)
    parts = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picked = draws.integers(0, N, (rows, N)) + N * np.arange(rows)[:, None]
        counts = np.bincount(picked.ravel(), minlength=rows * N).reshape(rows, N).astype(np.float32)
        parts.append((counts @ values).astype(np.float64) / N)
    return Resampled(np.concatenate(parts))


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
