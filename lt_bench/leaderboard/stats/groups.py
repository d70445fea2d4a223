"""Corrected p-values, possible places, and groups of rows that cannot be told apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lt_bench.leaderboard.boards import Standing

MOST_ROWS, MOST_GROUPS = 99, 26
"""A board with more rows or groups shows places without letters."""


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's (1979) step-down adjusted p-values: the chance of one false difference among all is at most the level."""
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def standings(better: NDArray[np.bool_]) -> list[Standing]:
    """Standings of R rows, given best first, from `better` (R, R): row i is significantly better than row j.

    A row's best possible place is 1 + the number of rows significantly better than it. Groups are runs of neighbouring rows no two of which differ, each as long as
    it can be: at most R, found in R^2 steps, where all sets of rows that do not differ can be exponentially many. So rows that share a letter do not differ; two
    rows that do not differ share none where one between them differs from either.
    """
    R = len(better)
    runs = equal_runs(better | better.T)
    named = R <= MOST_ROWS and len(runs) <= MOST_GROUPS
    above, below = better.sum(0), better.sum(1)
    return [
        Standing(1 + int(above[row]), R - int(below[row]), _letters([n for n, run in enumerate(runs) if row in run]) if named else "")
        for row in range(R)
    ]


def equal_runs(different: NDArray[np.bool_]) -> list[range]:
    """Runs of neighbouring rows no two of which differ, none inside another, from `different` (R, R), symmetric."""
    R = len(different)
    later = np.column_stack([np.triu(different), np.ones(R, bool)])
    differs_first = later.argmax(1)  # the first row after each that differs from it
    ends = np.minimum.accumulate(differs_first[::-1])[::-1]
    return [range(start, int(end)) for start, end in enumerate(ends) if start == 0 or end > ends[start - 1]]


def _letters(groups: list[int]) -> str:
    """Neighbouring groups as letters: `a`, `bc`, `bcd`, and `b-e` for more than three."""
    names = [chr(ord("a") + group) for group in groups]
    return "".join(names) if len(names) <= 3 else f"{names[0]}-{names[-1]}"
