"""Data that plots read from a board: per-class vectors averaged over a row's seeds, and which rows a crowded plot shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lt_bench.leaderboard.boards import BoardRows, Row

SHOWN, MOST = 6, 21
_REFERENCES = ("joint", "ce")


@dataclass(frozen=True, eq=False)
class Series:
    """One value a class for one row, ordered from the largest class to the smallest."""

    row: Row
    values: NDArray[np.float64]


def chosen(ranking: BoardRows) -> list[Row]:
    """The rows that a figure with a line for each shows: those that were chosen; else up to six: the user's own, the best, the untouched head, then the next best."""
    if ranking.chosen_from is not None:
        return ranking.rows[:MOST]
    own = [row for row in ranking.rows if is_own(row)][: SHOWN - 2]
    ordered = [*own, ranking.rows[0], *[one for one in [reference(ranking)] if one is not None], *ranking.rows]
    return list(dict.fromkeys(ordered))[:SHOWN]


def is_own(row: Row) -> bool:
    """Whether the strategy is the user's, not one of the suite's."""
    return not str(row.text("class_path")).startswith("lt_bench.")


def reference(ranking: BoardRows) -> Row | None:
    """The row to compare with: the untouched stage-1 head, else plain cross-entropy."""
    of_strategy = {str(row.text("strategy")): row for row in reversed(ranking.rows)}
    return next((of_strategy[name] for name in _REFERENCES if name in of_strategy), None)


def order_by_size(ranking: BoardRows) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Classes from the largest to the smallest (K,), and their training counts in that order."""
    counts = ranking.rows[0].split.train_counts
    order = np.argsort(-counts, kind="stable")
    return order, counts[order]


def vector(row: Row, name: str) -> NDArray[np.float64] | None:
    """A per-class vector (K,), mean over seeds; None where a run does not have it."""
    read = [row.runs.find_array(int(position), name) for position in row.positions]
    vectors = [values for values in read if values is not None]
    return np.mean(vectors, axis=0) if len(vectors) == len(read) else None


def series(ranking: BoardRows, rows: list[Row], name: str) -> list[Series]:
    """A per-class vector of each row that has it, largest class first."""
    order, _ = order_by_size(ranking)
    values = [(row, vector(row, name)) for row in rows]
    return [Series(row, value[order]) for row, value in values if value is not None]


def binned(values: NDArray[np.float64], bins: int = 10) -> NDArray[np.float64]:
    """Means over runs of neighbouring classes, as equal in size as possible and without NaN, to draw a line through many classes."""
    parts = np.array_split(values, min(bins, len(values)))
    return np.array([np.nanmean(part) if np.any(~np.isnan(part)) else np.nan for part in parts])


def binned_sizes(counts: NDArray[np.int64], bins: int = 10) -> NDArray[np.float64]:
    """Geometric mean training count of the same runs of classes."""
    return np.exp(binned(np.log(np.maximum(counts, 1).astype(np.float64)), bins))
