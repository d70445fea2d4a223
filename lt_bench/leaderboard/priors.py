"""Rows under test sets of other class shares, from their stored class accuracies: a head that is not told the shares has the same accuracy in each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lt_bench.data.priors import named_prior, tail_prior, usual_imbalances
from lt_bench.leaderboard.boards import Row
from lt_bench.leaderboard.class_accuracies import class_accuracies
from lt_bench.leaderboard.intervals import Estimate, seed_interval
from lt_bench.leaderboard.objective.objective import Objective
from lt_bench.leaderboard.over_images import Ends, of_accuracy

IMBALANCES = (50, 10, 3, 2)


def prior_name(text: str) -> str:
    """Name of a prior in column keys: ``forward_50``, ``prior_vets`` of the file ``vets.csv``."""
    way, colon, imbalance = text.partition(":")
    return f"{way}_{imbalance}" if colon and way in ("forward", "backward") else f"prior_{Path(text).stem}"


def at_prior(row: Row, text: str) -> Estimate | None:
    """Accuracy of a row at a prior as of ``named_prior``; None where its class accuracies were not stored."""
    return _weighted(row, _named(row, text))


def at_prior_over_images(row: Row, text: str) -> Ends:
    """The interval of `at_prior` over test images."""
    return of_accuracy(row, _named(row, text))


def at_usual_tail(row: Row, way: str, imbalance: int) -> Estimate | None:
    """`at_tail` at an imbalance that the data set is usually tested at; None at others."""
    return at_tail(row, way, imbalance) if imbalance in usual_imbalances(row.board.dataset) else None


def told_tail(row: Row, way: str, imbalance: int) -> Estimate | None:
    """Accuracy of a row at a long tail that its heads are told, from the records; None where they lack it."""
    values = row.values(f"test/accuracy_told_{way}_{imbalance}")
    return None if np.isnan(values).any() else seed_interval(values, row.varies)


def at_tail(row: Row, way: str, imbalance: int) -> Estimate | None:
    """Accuracy of a row at a long tail, forward or backward; None where its class accuracies were not stored."""
    return _weighted(row, _tail(row, way, imbalance))


def at_tail_over_images(row: Row, way: str, imbalance: int) -> Ends:
    """The interval of `at_tail` over test images."""
    return of_accuracy(row, _tail(row, way, imbalance))


def _named(row: Row, text: str) -> Objective:
    return Objective("prior", prior=named_prior(text, row.split.class_names, row.split.train_counts))


def _tail(row: Row, way: str, imbalance: int) -> Objective:
    return Objective("prior", prior=tail_prior(row.split.train_counts, imbalance, backward=way == "backward"))


def _weighted(row: Row, objective: Objective) -> Estimate | None:
    arrays = class_accuracies(row)
    if not arrays:
        return None
    weights = objective.class_weights(arrays[0][1].astype(np.int64))
    return seed_interval(np.array([weights[weights > 0] @ accuracy[weights > 0] for accuracy, _ in arrays]), row.varies)
