"""Ties of computed figures: what differs by rounding alone is equal, wherever rows are ordered, ranked or counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TIE = 1e-6
"""Neighbouring figures that differ by at most this, absolutely or relative to their size, are equal: programs, threads and machines differ by less than 1e-7."""


def tied(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The values (n,), with those that agree to `TIE` replaced by the smallest of them; NaN stays."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    with np.errstate(invalid="ignore"):  # infinity minus infinity: the same
        apart = np.diff(ascending) > TIE * np.maximum(1.0, np.minimum(np.abs(ascending[1:]), np.abs(ascending[:-1])))
    group = np.concatenate([[0], np.cumsum(apart | np.isnan(ascending[1:]))]) if len(values) else np.zeros(0, np.intp)
    result = np.empty_like(values, dtype=np.float64)
    result[order] = ascending[np.searchsorted(group, group)]
    return result


def ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks (n,) from 1 for the smallest; values that agree to `TIE` share their mean rank. No NaN among them."""
    _, group, level = np.unique(tied(values), return_inverse=True, return_counts=True)
    return (np.cumsum(level) - (level - 1) / 2)[group]


def agree(first: NDArray[np.floating], second: NDArray[np.floating]) -> bool:
    """Whether two arrays of figures are equal to `TIE` everywhere; NaN equals NaN."""
    return first.shape == second.shape and np.allclose(first, second, rtol=TIE, atol=TIE, equal_nan=True)
