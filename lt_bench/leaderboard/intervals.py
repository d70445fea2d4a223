"""Intervals over seeds, and how values and intervals of an objective are written."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from lt_bench.leaderboard.objective.objective import MICRO, Objective

LEVEL = 0.95
TO = "–"  # noqa: RUF001 - an en dash: from to
ERROR_IS = "spread of the scores of the points that draws choose; not how sure the choice is"
"""Meaning of the standard error of a choice: it is small too where near-equal points take turns."""


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

    def text(self, factor: float, decimals: int) -> str:
        """Mean times `factor` with its interval: `53.12 ± 0.40`; `98.00 (89.35–99.95)` where the sides differ by more than a fifth of the longer one and by more than a last digit; the mean alone where there is none."""
        mean, (low, high) = factor * self.mean, (None if end is None else factor * end for end in (self.low, self.high))
        if low is None or high is None:
            return fixed(mean, decimals)
        sides = mean - low, high - mean
        if abs(sides[0] - sides[1]) > max(max(sides) / 5, 10.0**-decimals):
            return f"{fixed(mean, decimals)} ({fixed(low, decimals)}{TO}{fixed(high, decimals)})"
        return f"{fixed(mean, decimals)} ± {fixed((high - low) / 2, decimals)}"


def fixed(value: float, decimals: int) -> str:
    """Fixed decimals without a negative zero."""
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


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


def ends_text(ends: tuple[float, float] | None, objective: Objective = MICRO) -> str | None:
    """An interval as `41.20 to 43.05`: of accuracies in %, of costs as they are."""
    factor = 1 if objective.lower else 100
    return (
        None
        if ends is None
        else f"{factor * ends[0]:.{4 if objective.lower else 2}f} to {factor * ends[1]:.{4 if objective.lower else 2}f}"
    )


def objective_text(value: float, objective: Objective, unit: str = "%") -> str:
    """A value of an objective, or a difference of two, with its unit; costs have none."""
    return f"{value:.4g}" if objective.lower else f"{100 * value:.2f} {unit}"
