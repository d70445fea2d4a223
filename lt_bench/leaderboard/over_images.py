"""Intervals of a row's figures over test images, or over the groups that they come in: in closed form, from the accuracy of each class and its number of test images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lt_bench.leaderboard.boards import Row
from lt_bench.leaderboard.class_accuracies import class_accuracies
from lt_bench.leaderboard.objective.objective import MACRO, Objective
from lt_bench.leaderboard.stats.clustered import Clustered
from lt_bench.leaderboard.stats.shares import accuracy_intervals, exact_interval

Ends = tuple[float, float] | None
"""The ends of an interval; None where there is none, as for a row without statistics."""


def of_accuracy(row: Row, objective: Objective) -> Ends:
    """Interval of the accuracy under an objective, mean over seeds; the row's own interval where the board is ranked by that objective."""
    if row.statistics is not None and objective.digest == row.objective.digest:
        return row.statistics.interval
    arrays = class_accuracies(row)
    if row.statistics is None or not arrays:
        return None
    counts = arrays[0][1].astype(np.int64)
    accuracy = np.mean([accuracy for accuracy, _ in arrays], axis=0)
    return accuracy_intervals(accuracy[None], counts, objective, _effect(row, objective))[0]


def of_objective(row: Row) -> Ends:
    """Interval of the objective as it is shown: accuracies in %."""
    if row.statistics is None:
        return None
    low, high = row.statistics.interval
    return (low, high) if row.objective.lower else (100 * low, 100 * high)


def of_shots(row: Row, name: str) -> Ends:
    """Interval of the accuracy on many, medium or few."""
    return None if row.statistics is None else row.statistics.groups.get(name)


def of_gap(row: Row) -> Ends:
    """Interval of macro accuracy on the training images, taken as fixed, minus macro accuracy on test."""
    train, test = row.values("train/macro_accuracy").mean(), of_accuracy(row, MACRO)
    return None if test is None else (train - test[1], train - test[0])


def of_share(row: Row, name: str) -> Ends:
    """Interval of a metric that is a share of the test images; None where images come in groups, since which images count is not stored."""
    arrays = class_accuracies(row)
    if row.statistics is None or row.statistics.sample is not None or not arrays:
        return None
    low, high = exact_interval(row.values(name).mean(), arrays[0][1].sum())
    return float(low), float(high)


def _effect(row: Row, objective: Objective) -> NDArray[np.float64]:
    """The design effect (1,) of the groups of test images on an accuracy; 1 where each image is on its own."""
    sample = None if row.statistics is None else row.statistics.sample
    if sample is None:
        return np.ones(1)
    labels = row.runs.array(int(row.positions[0]), "test_labels")
    if "right" not in row.computed:
        row.computed["right"] = np.mean([row.runs.array(int(one), "test_predictions") == labels for one in row.positions], axis=0)
    return Clustered.by_group(objective, labels, len(row.split.class_names), sample).effect(row.computed["right"][None])
