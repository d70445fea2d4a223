"""Intervals over seeds."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` values and its interval; `low` and `high` are None where there is no honest interval."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half(self) -> float | None:
        """Half the interval's width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def seed_interval(values: NDArray[np.floating], varies: str | None) -> Estimate:
    """Mean and 95 % Student t interval of one value a seed: ``mean +- t(0.975; n - 1) s / sqrt(n)``.

    No interval for a single seed, nor where the seed varies nothing (`varies` is None: the strategy trains nothing). NaN (a value that some
    run does not have) makes the mean NaN.
    """
    n = len(values)
    mean = float(values.mean())
    if n < 2 or varies is None or math.isnan(mean):
        return Estimate(mean, None, None, n)
    apart = values - mean
    half = _quantile(n - 1) * math.sqrt(float(apart @ apart) / (n - 1) / n)
    return Estimate(mean, mean - half, mean + half, n)


@functools.cache
def _quantile(degrees: int) -> float:
    return float(stdtrit(degrees, 0.5 + LEVEL / 2))
