"""Paired bootstrap over test images: the same resampled images for every row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000


def resample(correct: NDArray[np.floating], resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.float64]:
    """Accuracies (B, R) on test images drawn with replacement, the same images for all rows of a resample.

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
    return np.concatenate(parts)


def percentiles(values: NDArray[np.float64]) -> list[tuple[float, float]]:
    """95 % percentile interval of each column of resampled values (B, R)."""
    return [(float(low), float(high)) for low, high in np.quantile(values, [0.025, 0.975], axis=0).T]
