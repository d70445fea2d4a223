"""Points of a grid that a tuning tries: all that the strategy takes, or as many as a budget buys."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError
from lt_bench.engine.heads.fit import facts_of
from lt_bench.features.cache import FeatureCache
from lt_bench.strategies.entry import Entry

Grid = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]
"""Values by hyper-parameter, of which every combination is a point; or the points."""


def drawn_places(total: int, number: int) -> NDArray[np.intp]:
    """``number`` random positions in a grid of ``total`` points, sorted, with a fixed seed; all positions where there are no more."""
    return np.sort(np.random.default_rng(0).permutation(total)[: max(number, 0)])


def grid_points(entry: Entry, fixed: dict[str, Any], grid: Grid | None = None) -> list[dict[str, Any]]:
    """The points given, or the Cartesian product of a grid, by default the strategy's, without the fixed hyper-parameters.

    Raises:
        UserError: every hyper-parameter of the grid is fixed, or there is no grid.
    """
    if grid is not None and not isinstance(grid, Mapping):
        return [dict(point) for point in grid]
    free = {name: values for name, values in (entry.grid if grid is None else grid).items() if name not in fixed}
    if not free:
        raise UserError(f"strategy {entry.name} has nothing to tune" + (" beside what is fixed" if entry.grid else ": it declares no grid"))
    return [dict(zip(free, values, strict=True)) for values in itertools.product(*free.values())]


def accepted(
    entry: Entry, cache: FeatureCache, fixed: dict[str, Any], points: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The points that the strategy accepts here, and the others with the reason: a point may contradict the strategy's settings for the data set.

    Raises:
        UserError: the strategy accepts none of the points; the message is that of the first.
    """
    taken, refused = _taken(entry, cache, fixed, points)
    if refused and not taken:
        raise refused[0][1]
    return taken, [{"hyperparameters": {**fixed, **point}, "reason": str(error)} for point, error in refused]


def _taken(
    entry: Entry, cache: FeatureCache, fixed: dict[str, Any], points: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[tuple[dict[str, Any], UserError]]]:
    """The points that the strategy accepts, and the others with their errors."""
    dataset, facts = cache.manifest.dataset, facts_of(cache)
    taken, refused = [], []
    for point in points:
        try:
            cls, given = entry.class_for(entry.resolve(dataset.name, dataset.imbalance_factor, {**fixed, **point}))
            cls(facts, **given)
        except UserError as error:
            refused.append((point, error))
        else:
            taken.append(point)
    return taken, refused


def within_budget(
    entry: Entry, cache: FeatureCache, fixed: dict[str, Any], points: list[dict[str, Any]], budget: int
) -> tuple[list[dict[str, Any]], int]:
    """At most ``budget`` points: the strategy's own hyper-parameters for this data set first, then a random draw of the others; and the number of points in all, its own included."""
    dataset = cache.manifest.dataset

    def whole(point: Mapping[str, Any]) -> dict[str, Any]:
        return entry.resolve(dataset.name, dataset.imbalance_factor, {**fixed, **point})

    defaults = whole({})
    own, _ = _taken(entry, cache, fixed, [{name: defaults[name] for name in points[0]}])
    others = [point for point in points if not own or whole(point) != whole(own[0])]
    drawn = [others[place] for place in drawn_places(len(others), budget - len(own))]
    return [*own, *drawn], len(own) + len(others)


def edges(points: list[dict[str, Any]], chosen: dict[str, Any]) -> list[str]:
    """Hyper-parameters whose chosen value is the smallest or largest of three or more numbers tried: a wider grid might choose another."""
    at_edge = []
    for name, value in chosen.items():
        tried = {point[name] for point in points}
        numeric = all(isinstance(one, int | float) and not isinstance(one, bool) for one in tried)
        if numeric and len(tried) > 2 and value in (min(tried), max(tried)):
            at_edge.append(name)
    return at_edge
