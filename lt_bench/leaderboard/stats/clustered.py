"""Images that come in groups (tracks, patients, sites): the groups are the sample, since images of one group are alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from lt_bench.leaderboard.objective.objective import MACRO, MICRO, Objective
from lt_bench.leaderboard.stats.design import Columns, Design, Numbers
from lt_bench.leaderboard.stats.shares import GROUPS, paired_intervals, student_intervals
from lt_bench.metrics.groups import ShotGroups

_AGREED = 1e-24
"""Variance below which all images of each stratum are worth the same: that of rounding."""


@dataclass(frozen=True, eq=False)
class Clustered(Design):
    """N test images as a sample of G groups.

    The variance is that of a ratio of totals over sampled groups (Cochran 1977, 11.12), ``sum_g (sum_h sqrt(G_h / (G_h - 1)) sum_{n in g and h} e_n)^2`` with the residuals ``e_n =
    weight_n (value_n - weighted mean of the stratum)``. It is ``Design``'s where every image is a group of its own.

    Attributes:
        strata: (N,) stratum of each image: its class, or all images; classes of a single group are one stratum, as those of a single image are in ``Design``.
        sizes: (H,) groups of each stratum.
        group: (N,) group 0..G-1 of each image.
    """

    group: NDArray[np.intp]

    @classmethod
    def by_group(cls, objective: Objective, labels: NDArray[np.integer], num_classes: int, groups: NDArray) -> Clustered:
        """The design of an objective on test images with labels (N,), of groups (N,)."""
        _, group = np.unique(groups, return_inverse=True)
        strata = np.zeros(len(labels), np.intp)
        if objective.within_classes:
            of_group = np.unique(np.stack([labels, group]), axis=1)[0]
            strata = Design.within_classes(np.zeros(len(of_group)), of_group).strata[np.searchsorted(of_group, labels)]
        sizes = np.bincount(np.unique(np.stack([strata, group]), axis=1)[0])
        return cls(objective.weights(labels, num_classes), strata, sizes, group)

    @property
    def columns(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The stratum (G,) of each group, after strata that share a group are joined, and the number of groups in each joined stratum."""
        from scipy.sparse import csr_array  # a tenth of a second that images without groups do not need
        from scipy.sparse.csgraph import connected_components

        H = len(self.sizes)
        shares = csr_array((np.ones(len(self.group)), (self.strata, H + self.group)), shape=(H + self._count,) * 2)
        _, of_group = np.unique(connected_components(shares, directed=False)[1][H:], return_inverse=True)
        return of_group, np.bincount(of_group)

    @cached_property
    def parts(self) -> list[slice]:
        """All groups at once."""
        return [slice(0, self._count)]

    def units(self, outcomes: Numbers) -> tuple[Numbers, Numbers]:
        """Weights (G,) of the groups, and the weighted mean outcome (rows, G) of each."""
        weights = np.bincount(self.group, self.weights, self._count).astype(np.float64)
        totals = np.stack([np.bincount(self.group, line, self._count) for line in outcomes * self.weights])
        return weights, np.divide(totals, weights, out=np.zeros_like(totals), where=weights > 0)

    def deviations(self, columns: Columns) -> Columns:
        """Sums (rows, G) of the residuals of each group, scaled so that the sum of their squares is the variance of the objective."""
        from scipy.sparse import csr_array

        rows, one = np.arange(len(self.group)), np.ones(len(self.group))
        by_stratum, by_group = (csr_array((one, (rows, of))) for of in (self.strata, self.group))
        values = np.concatenate([columns(part) for part in Design(self.weights, self.strata, self.sizes).parts], axis=1)
        total = np.maximum(self.weights @ by_stratum, np.finfo(np.float64).tiny)
        residuals = (values - (((values * self.weights) @ by_stratum) / total)[:, self.strata]) * self.weights * np.sqrt(self.factors)
        sums = residuals @ by_group
        return lambda part: sums[:, part]

    def effect(self, worth: Numbers) -> Numbers:
        """The design effect (R,) of each row's weighted mean of what images are worth (R, N): the factor by which groups reduce the effective number of images (Kish 1965, 8.2).

        It is at least 1, and larger with few groups, as Student's t is wider than the normal distribution (Korn and Graubard 1998). Where all images of each stratum are worth the same, the similarity within groups cannot be
        estimated: the effect is then that of groups of identical images, so that the effective number of images is that of groups of equal weight.
        """
        alone = Clustered(self.weights, self.strata, np.bincount(self.strata), np.arange(len(self.strata)))
        (groups, wide), (images, narrow) = (one._variance(worth) for one in (self, alone))
        shown, most = images > _AGREED, np.sum(np.bincount(self.group, self.weights) ** 2) / np.sum(self.weights**2)
        effect = np.maximum(np.divide(groups, images, out=np.ones(len(worth)), where=shown), 1.0) * (wide / narrow) ** 2
        return np.where(shown, effect, most)

    def _variance(self, worth: Numbers) -> tuple[Numbers, float]:
        """Variance (R,) of each row, and the quantile of its Student t."""
        apart = self.deviations(lambda part: worth[:, part])
        return (apart(slice(None)) ** 2).sum(1), float(stdtrit(self.degrees([apart]), 0.975))

    @property
    def _count(self) -> int:
        return int(self.group.max()) + 1


def design_of(objective: Objective, labels: NDArray[np.integer], num_classes: int, groups: NDArray | None) -> Design:
    """The design of test images with labels (N,), in which their groups (N,) are the sample where they are known."""
    return Design.of(objective, labels, num_classes) if groups is None else Clustered.by_group(objective, labels, num_classes, groups)


def effects_on_shots(right: Numbers, labels: NDArray[np.integer], shots: ShotGroups, groups: NDArray | None) -> dict[str, Numbers]:
    """Design effects (R,) of the accuracies on many, medium and few. ``right``: (R, N) whether each row is right, mean over seeds; ``groups``: (N,), None for independent images."""
    places = {name: np.flatnonzero(getattr(shots, name)[labels]) for name in GROUPS}
    designs = {
        name: design_of(MACRO, labels[rows], len(shots.few), None if groups is None else groups[rows])
        for name, rows in places.items()
        if rows.size
    }
    return {name: design.effect(right[:, places[name]]) for name, design in designs.items()}


def effects_on_classes(right: Numbers, labels: NDArray[np.integer], num_classes: int, groups: NDArray | None) -> Numbers:
    """Design effects (K,) of one row's accuracy on each class; 1 for a class without images. ``right``: (N,) whether the row is right, mean over seeds; ``groups``: (N,), None for independent images."""
    effects = np.ones(num_classes)
    if groups is not None:
        order = np.argsort(labels, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
            design = Clustered.by_group(MICRO, np.zeros(len(rows), np.intp), 1, groups[rows])
            effects[labels[rows[0]]] = design.effect(right[None, rows])[0]
    return effects


def differences_by_class(
    differences: Numbers, labels: NDArray[np.integer], num_classes: int, groups: NDArray | None
) -> tuple[Numbers, Numbers]:
    """Ends (K,) of the 95 % interval of the mean paired difference on each class, from differences (N,) in -1 to 1; ``groups``: (N,), None for independent images.

    Intervals are those of ``paired_intervals`` for images, and of ``student_intervals`` for groups. A class without images has the whole range.
    """
    if groups is None:
        return paired_intervals(differences, labels, num_classes)
    low, high = -np.ones(num_classes), np.ones(num_classes)
    for k in np.unique(labels):
        of = labels == k
        design = Clustered.by_group(MICRO, np.zeros(of.sum(), np.intp), 1, groups[of])
        ((start, end),) = student_intervals(differences[None, of], design)
        low[k], high[k] = max(start, -1.0), min(end, 1.0)
    return low, high
