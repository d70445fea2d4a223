"""Points of a strategy: the hyper-parameters to choose among."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from lt_bench.bench.tuning.points import accepted, drawn_places
from lt_bench.core.errors import UserError
from lt_bench.features.cache import FeatureCache
from lt_bench.strategies.entry import Entry

USUAL = ("joint", "logit_adjustment", "tau_norm", "ncm", "lda", "balanced_softmax", "crt", "los")
"""Strategies that are compared where none are named: the stage-1 head as it is, two adjustments of it, two closed forms, three that train a head."""
BUDGET = 12
"""Points of each strategy, where nothing else is said."""


def points_of(entry: Entry, cache: FeatureCache, budget: int) -> list[dict[str, Any]]:
    """Hyper-parameters of at most ``budget`` points: the strategy's own for this data set first, then points of its grid, all of them or a random sample.

    Raises:
        UserError: the strategy cannot be built on this cache at all, or learns from validation images.
    """
    sizes = [len(values) for values in entry.grid.values()]
    total = math.prod(sizes) if sizes else 0
    grid = list(itertools.product(*entry.grid.values())) if total else []
    taken, _ = accepted(
        entry, cache, {}, [{}, *(dict(zip(entry.grid, grid[place], strict=True)) for place in drawn_places(total, budget - 1))]
    )
    require_blind(entry, cache, taken[0])
    return distinct(entry, cache, taken)


def require_blind(entry: Entry, cache: FeatureCache, point: dict[str, Any]) -> None:
    """Refuse a strategy that learns from validation images, which are to choose.

    Raises:
        UserError: it does.
    """
    cls, _ = entry.class_for(entry.resolve(cache.manifest.dataset.name, cache.manifest.dataset.imbalance_factor, point))
    if cls.reads_held_out():
        raise UserError(
            f"{entry.public_name} learns from validation images, which choose here; leave it out, `lt-bench run` compares it on test images"
        )


def distinct(entry: Entry, cache: FeatureCache, points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points with all their hyper-parameters told apart, the first of equal ones; as what they change of the strategy's own."""
    dataset = cache.manifest.dataset
    resolved: list[dict[str, Any]] = []
    different = []
    for point in points:
        whole = entry.resolve(dataset.name, dataset.imbalance_factor, point)
        if whole not in resolved:
            resolved.append(whole)
            different.append(point)
    return different
