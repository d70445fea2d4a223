"""Sampling design of a test set: its strata, and the weight of each image in the objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.leaderboard.objective.objective import Objective

_AT_ONCE = 4096  # columns that are float64 at a time
Numbers = NDArray[np.float64]
Columns = Callable[[slice], Numbers]
"""Columns of an array (rows, N), computed on request."""


@dataclass(frozen=True, eq=False)
class Design:
    """N test images as a sample in strata: all images together, or each class, whose number of images then stays as it is.

    The mean of an objective is ``sum_n e_n`` with ``e_n = weight_n value_n``. Its variance over test sets is ``sum_h n_h / (n_h - 1) sum_{n in h} (e_n - mean of e in h)^2``,
    unbiased (Cochran 1977, 5.3); with one stratum it is that of a mean. A stratum of one image says nothing of its variance: classes with a single image are one
    stratum together, with the smallest other class where there is only one.

    Attributes:
        weights: (N,) adding up to 1.
        strata: (N,) stratum of each image.
        sizes: (H,) images of each stratum.
    """

    weights: Numbers
    strata: NDArray[np.intp]
    sizes: NDArray[np.intp]

    @classmethod
    def of(cls, objective: Objective, labels: NDArray[np.integer], num_classes: int) -> Design:
        """The design of an objective on test images with labels (N,)."""
        weights = objective.weights(labels, num_classes)
        return (
            cls.within_classes(weights, labels)
            if objective.within_classes
            else cls(weights, np.zeros(len(labels), np.intp), np.array([len(labels)]))
        )

    @classmethod
    def within_classes(cls, weights: Numbers, labels: NDArray[np.integer]) -> Design:
        """The design with classes as strata; `weights` and `labels` are (N,), one for each image."""
        _, position, counts = np.unique(labels, return_inverse=True, return_counts=True)
        order = np.argsort(counts, kind="stable")
        together = int((counts == 1).sum())
        stratum = np.empty(len(counts), np.intp)
        stratum[order] = np.maximum(np.arange(len(counts)) - max(together - 1, int(together == 1)), 0)
        strata = stratum[position]
        return cls(weights, strata, np.bincount(strata))

    @property
    def columns(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The stratum of each column of `deviations`, and the number of columns in each stratum."""
        return self.strata, self.sizes

    @property
    def factors(self) -> Numbers:
        """(N,) ``n_h / (n_h - 1)`` of each image's stratum; 1 where it is the only image there is."""
        return (self.sizes / np.maximum(self.sizes - 1, 1))[self.strata]

    def values(self, outcomes: NDArray) -> Numbers:
        """The objective (rows, S) of outcomes (rows, S, N)."""
        return np.array([row.astype(np.float64) @ self.weights for row in outcomes])

    def units(self, outcomes: Numbers) -> tuple[Numbers, Numbers]:
        """Sampled units, here images: their weights (N,), and outcomes (rows, N)."""
        return self.weights, outcomes

    def deviations(self, columns: Columns) -> Columns:
        """Weighted outcomes (rows, N) minus the mean of their stratum, scaled so that the sum of their squares is the variance of the objective."""
        means = sum(columns(part) @ totals for part, totals in zip(self.parts, self._totals, strict=True)) / self.sizes
        root = self._root

        def deviating(part: slice) -> Numbers:
            return (columns(part) * self.weights[part] - means[:, self.strata[part]]) * root[part]

        return deviating

    @cached_property
    def _root(self) -> Numbers:
        return np.sqrt(self.factors)

    @cached_property
    def _totals(self) -> list[Any]:
        """For each of `parts`, the matrix (n, H) that maps columns (rows, n) to their weighted sums by stratum (rows, H)."""
        if len(self.sizes) == 1:
            return [self.weights[part][:, None] for part in self.parts]
        from scipy.sparse import csr_array  # a tenth of a second that tables without statistics do not need

        at = csr_array((self.weights, (np.arange(len(self.weights)), self.strata)), shape=(len(self.weights), len(self.sizes)))
        return [at[part] for part in self.parts]

    @cached_property
    def parts(self) -> list[slice]:
        """Slices of columns that are converted to float64 at a time."""
        N = len(self.weights)
        return [slice(start, min(start + _AT_ONCE, N)) for start in range(0, N, _AT_ONCE)]

    def effect(self, worth: Numbers) -> Numbers:
        """Design effect (R,) of each row's mean of what images are worth (R, N): 1, since images are independent here."""
        return np.ones(len(worth))

    def degrees(self, lines: Sequence[Columns]) -> float:
        """Degrees of freedom of the variance of a difference between two rows, by Satterthwaite over strata, from the variance between the rows' deviations in each stratum.

        One stratum gives ``N - 1``; of several, strata with few images and much variance dominate.
        """
        strata, sizes = self.columns
        by_stratum = np.zeros(len(sizes))
        for part in self.parts:
            rows = np.concatenate([columns(part) for columns in lines])
            by_stratum += np.bincount(strata[part], rows.var(0) if len(rows) > 1 else rows[0] ** 2, len(sizes))
        if not by_stratum.any():
            return float(max(len(strata) - len(sizes), 1))
        return float(by_stratum.sum() ** 2 / np.sum(by_stratum**2 / np.maximum(sizes - 1, 1)))
