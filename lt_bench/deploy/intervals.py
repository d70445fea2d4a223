"""Intervals over the inputs of an evaluation: of accuracies, as boards make them, and of the difference of two calibration errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from lt_bench.leaderboard.objective.objective import MACRO, MICRO
from lt_bench.leaderboard.stats.clustered import design_of, effects_on_shots
from lt_bench.leaderboard.stats.shares import group_intervals, objective_intervals
from lt_bench.metrics.calibration import BINS, CalibrationError, bins_of
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
        predicted: (N,) predicted classes.
        num_classes: K.
        train_counts: (K,).
        groups: (N,) group of each input; groups are then the sampling units. None: each input is a unit.
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

    @property
    def bins(self) -> NDArray[np.intp]:
        """The bin (N,) of each confidence."""
        return bins_of(torch.from_numpy(self.confidence)).numpy()

    @property
    def error(self) -> float:
        """Expected calibration error."""
        error = CalibrationError()
        error.update(torch.from_numpy(self.confidence), torch.from_numpy(self.correct))
        return float(error.compute())


def calibration_ends(before: Predicted, after: Predicted, groups: NDArray | None) -> Ends | None:
    """95 % interval of the calibration error after minus before, by its spread over samples drawn from the inputs, or their groups (Efron 1979); None for a single input or group."""
    N = len(before.correct)
    unit = np.arange(N) if groups is None else np.unique(groups, return_inverse=True)[1]
    units, rng = int(unit.max()) + 1, np.random.default_rng(0)
    if units < 2:
        return None
    drawn = _drawn_differences(before, after, unit, (np.bincount(rng.integers(0, units, units), minlength=units) for _ in range(DRAWS)))
    half = ndtri(0.975) * np.std(drawn, ddof=1)
    difference = after.error - before.error
    return float(difference - half), float(difference + half)


def _drawn_differences(before: Predicted, after: Predicted, unit: NDArray[np.intp], draws: Iterable[NDArray[np.intp]]) -> list[float]:
    """Calibration error after minus before of each resample; a draw (units,) counts how often it has each unit, and ``unit`` (N,) is the unit of each input.

    Inputs are put into bins once: an error comes from the product of a draw with the sums of each unit and bin, most of which are empty.
    """
    from scipy.sparse import csr_array  # a tenth of a second that other commands do not need

    units, bins = int(unit.max()) + 1, (before.bins, BINS + after.bins)
    gaps = np.concatenate([one.correct - one.confidence for one in (before, after)])
    of_unit = csr_array((gaps, (np.tile(unit, 2), np.concatenate(bins))), shape=(units, 2 * BINS)).T
    sizes, differences = np.bincount(unit), []
    for times in draws:
        first, second = np.abs(of_unit @ times).reshape(2, BINS).sum(1)
        differences.append(float((second - first) / (sizes @ times)))
    return differences
