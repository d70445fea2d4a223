"""Intervals over the inputs of an evaluation: of accuracies, as boards make them, and of the difference of two calibration errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lt_bench.leaderboard.objective.objective import MACRO, MICRO
from lt_bench.leaderboard.stats.clustered import design_of, effects_on_shots
from lt_bench.leaderboard.stats.shares import group_intervals, objective_intervals
from lt_bench.metrics.calibration import BINS
from lt_bench.metrics.groups import shot_groups

DRAWS = 200
Ends = tuple[float, float]


def accuracy_ends(
    labels: NDArray[np.integer],
    predicted: NDArray[np.integer],
    num_classes: int,
    train_counts: Sequence[int] | None,
    groups: NDArray | None,
) -> dict[str, Ends]:
    """95 % intervals of ``accuracy``, ``macro_accuracy``, and of many, medium and few where the training counts are known.

    Args:
        labels: (N,) true classes.
        predicted: (N,).
        num_classes: K.
        train_counts: (K,).
        groups: (N,) of the inputs, which then are the sample; None where each is on its own.
    """
    worth = (labels == predicted).astype(np.float64)[None]
    images = np.bincount(labels, minlength=num_classes)
    recall = np.bincount(labels, worth[0], num_classes)[None] / np.maximum(images, 1)
    ends = {
        name: objective_intervals(worth, recall, images, objective, design_of(objective, labels, num_classes, groups))[0]
        for name, objective in (("accuracy", MICRO), ("macro_accuracy", MACRO))
    }
    if train_counts is None:
        return ends
    shots = shot_groups(train_counts)
    of_shots = group_intervals(recall, images, shots, effects_on_shots(worth, labels, shots, groups))
    return ends | {name: line[0] for name, line in of_shots.items()}


@dataclass(frozen=True)
class Predicted:
    """Confidences (N,) of predictions, and whether they are right (N,)."""

    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]

    def error(self, times: NDArray[np.integer]) -> float:
        """Expected calibration error (``metrics.calibration``) of a sample that has each input so many times (N,)."""
        of_bin = (np.ceil(self.confidence * BINS).astype(np.intp) - 1).clip(0, BINS - 1)
        return float(np.abs(np.bincount(of_bin, times * (self.correct - self.confidence), BINS)).sum() / times.sum())


def calibration_ends(before: Predicted, after: Predicted, groups: NDArray | None) -> Ends | None:
    """95 % interval of the calibration error after minus before, by its spread over samples drawn from the inputs, or their groups (Efron 1979); None of a single one."""
    N = len(before.correct)
    unit = np.arange(N) if groups is None else np.unique(groups, return_inverse=True)[1]
    units, rng = int(unit.max()) + 1, np.random.default_rng(0)
    if units < 2:
        return None
    draws = [np.bincount(rng.integers(0, units, units), minlength=units)[unit] for _ in range(DRAWS)]
    half = ndtri(0.975) * np.std([after.error(times) - before.error(times) for times in draws], ddof=1)
    once = np.ones(N, np.intp)
    difference = after.error(once) - before.error(once)
    return float(difference - half), float(difference + half)
