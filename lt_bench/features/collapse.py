"""Feature collapse as a fact of a cache: measured once, and kept by the cache's key. Free of torch until it is measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_bench.core.errors import UserError
from lt_bench.core.stored import read_stored, stored_or_computed
from lt_bench.features.locate import home

if TYPE_CHECKING:
    from lt_bench.features.cache import FeatureCache, FeatureSplit

REVISION = 2
"""Revision of the formula, raised when its figures change, so that those of another revision are never shown."""
Collapse = dict[str, float]
"""Within- over between-class scatter of each split, as of ``class_scatter.scatter_ratio``."""


def collapse_of(cache: FeatureCache, load: Callable[[str], FeatureSplit] | None = None) -> Collapse:
    """The collapse of train, val and test, kept for the next call.

    Args:
        cache: the features.
        load: returns a split by name, e.g. one in memory; None: splits are read from the cache.
    """

    def measured() -> Collapse:
        from lt_bench.features.class_scatter import scatter_ratio

        K, splits = cache.manifest.dataset.num_classes, [split for split in ("train", "val", "test") if cache.has(split)]
        return {split: scatter_ratio(load(split) if load else cache.split(split, views=("plain",)), K) for split in splits}

    return stored_or_computed(_place(cache.key), measured, _to_json, _from_json)


def known_collapse(key: str) -> Collapse | None:
    """The collapse of the cache of this key where it was measured before, else None."""
    try:
        return _from_json(read_stored(_place(key)))
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None


def collapse_text(collapse: Collapse) -> str:
    """For people: ``train 0.205, val 1.314, test not measurable``."""
    return ", ".join(f"{split} {'not measurable' if math.isnan(value) else f'{value:.3f}'}" for split, value in collapse.items())


def collapse_line(collapse: Collapse) -> str:
    """A line on a cache, with what it means."""
    return f"feature collapse: {collapse_text(collapse)} (scatter within over between classes; 0 is full collapse, far less on train is what stage 1 memorised)"


def _place(key: str) -> Path:
    return home() / "collapse" / f"{key}-{REVISION}-collapse.json"


def _to_json(collapse: Collapse) -> dict[str, Any]:
    return {"collapse": {split: None if math.isnan(value) else value for split, value in collapse.items()}}


def _from_json(content: Mapping[str, Any]) -> Collapse:
    return {split: math.nan if value is None else float(value) for split, value in content["collapse"].items()}
