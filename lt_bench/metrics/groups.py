"""Many-, medium- and few-shot classes, by their number of training images (numpy only)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lt_bench.core.errors import UserError


@dataclass(frozen=True, eq=False)
class ShotGroups:
    """Membership of each of K classes: three boolean (K,) arrays that cover every class exactly once."""

    many: NDArray[np.bool_]
    medium: NDArray[np.bool_]
    few: NDArray[np.bool_]


def shot_groups(train_counts: ArrayLike, many_above: int = 100, few_below: int = 20) -> ShotGroups:
    """Group the classes by their **training** counts: many > `many_above`, few < `few_below`, medium between (Liu et al. 2019, OLTR).

    Args:
        train_counts: (K,) training images of each class.
        many_above: a class with more images than this is many-shot.
        few_below: a class with fewer images than this is few-shot.

    Raises:
        UserError: the counts are not one non-negative number a class, or the two thresholds overlap.
    """
    counts = np.asarray(train_counts)
    if counts.ndim != 1 or counts.size == 0 or not np.all(counts >= 0):
        raise UserError(f"train_counts must hold one non-negative number for each class, got an array of shape {counts.shape}")
    if few_below > many_above + 1:
        raise UserError(f"few_below={few_below} and many_above={many_above} overlap: few_below must be at most many_above + 1")
    many, few = counts > many_above, counts < few_below
    return ShotGroups(many=many, medium=~(many | few), few=few)


def nan_mean(values: NDArray[np.floating]) -> float:
    """Mean of what is not NaN; NaN when nothing is left."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def group_means(values: NDArray[np.floating], groups: ShotGroups) -> dict[str, float]:
    """Mean of per-class values (K,) in each group, over the classes that have one; a group with none is NaN, never 0."""
    return {name: nan_mean(values[getattr(groups, name)]) for name in ("many", "medium", "few")}
