"""Data of the page on single classes: the accuracy of each, and every row under test sets of other class shares."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lt_bench.leaderboard.boards import BoardRows
from lt_bench.leaderboard.class_accuracies import class_accuracies
from lt_bench.leaderboard.intervals import Estimate
from lt_bench.leaderboard.tables.columns import Column, column_value

_PRIOR = re.compile(r"macro_accuracy|(forward|backward)_[\d.]+|prior_.+")
_PARTS, _NONE = 10_000, 65_535
"""Accuracies are whole numbers of ten-thousandths; a class without test images has none."""


def outer_ends(values: Sequence[float]) -> tuple[float, float]:
    """Ends of the scale for values, NaN aside: the extreme values within 1.5 interquartile ranges of the quartiles, so that an outlier does not flatten the others."""
    known = np.array([value for value in values if not np.isnan(value)] or [0.0])
    first, third = np.quantile(known, [0.25, 0.75])
    near = known[np.abs(known - (first + third) / 2) <= 2 * (third - first)]
    return (float(near.min()), float(near.max())) if len(near) else (float(first), float(third))


def add_priors(ranking: BoardRows, columns: Sequence[Column], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the accuracy of each row at every test prior among the columns (mean, then the ends over seeds or None) into `rows`; title and scale of each prior."""
    priors: dict[str, Any] = {}
    for column in columns:
        if not _PRIOR.fullmatch(column.key):
            continue
        known = [column_value(row, column) for row in ranking.rows]
        figures = [[one.mean, one.low, one.high] if isinstance(one, Estimate) else [None] * 3 for one in known]
        if any(np.isnan(np.array(of_row[0], dtype=float)) for of_row in figures):
            continue
        rounded = [[None if end is None else round(end, 6) for end in of_row] for of_row in figures]
        title = "Uniform" if column.key == "macro_accuracy" else column.title
        priors[column.key] = {"title": title, "scale": outer_ends([end for of_row in rounded for end in of_row if end is not None])}
        for row, of_row in zip(rows, rounded, strict=True):
            row.setdefault("priors", {})[column.key] = of_row
    return priors


def add_classes(ranking: BoardRows, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Put the accuracy of each class, mean over seeds, into those of `rows` that have it, as base64 of little-endian 16 bits; names, training and test images of the classes."""
    split, counts = ranking.rows[0].split, ranking.test_counts
    of_rows = [class_accuracies(row) for row in ranking.rows]
    if counts is None or not any(of_rows):
        return None
    for row, arrays in zip(rows, of_rows, strict=True):
        if arrays:
            mean = np.mean([accuracy for accuracy, _ in arrays], axis=0)
            parts = np.where((counts > 0) & np.isfinite(mean), np.round(np.nan_to_num(mean) * _PARTS), _NONE)
            row["classes"] = base64.b64encode(parts.astype("<u2").tobytes()).decode()
    groups = np.select([split.groups.many, split.groups.medium], ["many", "medium"], "few")
    return {
        "names": list(split.class_names),
        "train": split.train_counts.tolist(),
        "test": counts.tolist(),
        "groups": groups.tolist(),
    }
