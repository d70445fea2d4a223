"""Nested choice among strategies and hyper-parameters from held-out predictions. NumPy only.

The worth of a strategy is the objective of held-out predictions, those of each fold by the point that is chosen on the other folds. The strategy of the largest worth is taken, so many points to try are no advantage.
To estimate the result of this choice, each fold in turn is held out: strategy and point are chosen on the other folds, and predict the held-out fold. So the label of a row has no part in the
choice that predicts it (Varma and Simon 2006, https://doi.org/10.1186/1471-2105-7-91).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.leaderboard.objective.objective import Objective

FAILED = -1
"""Prediction of a head whose fit diverged."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A strategy with the held-out predictions of its points.

    Attributes:
        name: of the strategy.
        points: hyper-parameters to choose among, P of them.
        seeds: S repetitions of every point; None, with S = 1, for a strategy without randomness.
        predictions: (P, S, F, N) class of held-out row n, predicted by a head that was fitted without the row's own fold and without fold f; F = 1 where heads were fitted on no held-out row.
    """

    name: str
    points: Sequence[dict[str, Any]]
    seeds: Sequence[int] | None
    predictions: NDArray[np.integer]

    def without(self, fold: int) -> NDArray[np.integer]:
        """(P, S, N) predictions of heads that were fitted without fold ``fold`` and each row's own fold."""
        return self.predictions[:, :, fold if self.predictions.shape[2] > 1 else 0]

    def of_own_fold(self, fold: NDArray[np.integer]) -> NDArray[np.integer]:
        """(P, S, N) predictions of heads that were fitted without each row's own fold (N,) alone."""
        if self.predictions.shape[2] == 1:
            return self.predictions[:, :, 0]
        return self.predictions[:, :, fold, np.arange(len(fold))]

    @property
    def converged(self) -> Candidate:
        """The strategy with only those points that have no diverged fit."""
        places = np.flatnonzero((self.predictions != FAILED).all((1, 2, 3))).tolist()
        return replace(self, points=[self.points[place] for place in places], predictions=self.predictions[places])


@dataclass(frozen=True, eq=False)
class Tuned:
    """A strategy after the choice of its hyper-parameters.

    Attributes:
        candidate: the strategy.
        values: (P,) objective of each point over all held-out rows.
        best: position of the best of these values.
        by_fold: for each fold, the position of the point that is chosen on the other folds.
        predictions: (S, N) of each row by the point that is chosen without its fold.
        worth: objective of these predictions.
    """

    candidate: Candidate
    values: NDArray[np.float64]
    best: int
    by_fold: Sequence[int]
    predictions: NDArray[np.integer]
    worth: float


@dataclass(frozen=True, eq=False)
class NestedChoice:
    """The outcome of a nested choice.

    Attributes:
        tuned: the strategies, the largest worth first.
        by_fold: for each fold, the name of the strategy that is chosen on the other folds.
        predictions: (S, N) of each row by the strategy and point that are chosen without its fold.
    """

    tuned: Sequence[Tuned]
    by_fold: Sequence[str]
    predictions: NDArray[np.integer]


def nested_choice(
    candidates: Sequence[Candidate], fold: NDArray[np.integer], labels: NDArray[np.integer], num_classes: int, objective: Objective
) -> NestedChoice:
    """Choose without each fold in turn, and on all rows.

    Args:
        candidates: the strategies; the first of equally good ones is taken.
        fold: (N,) fold 0..F-1 of each held-out row.
        labels: (N,).
        num_classes: K.
        objective: by which points and strategies are chosen.
    """
    tuned = [_tuned(one, fold, labels, num_classes, objective) for one in candidates]
    inner = [[_tuned(one, fold, labels, num_classes, objective, without=k) for one in candidates] for k in range(int(fold.max()) + 1)]
    sign = -1 if objective.lower else 1
    chosen = [_best(sign * np.array([one.worth for one in line])) for line in inner]
    lines = max(one.predictions.shape[1] for one in candidates)
    of_each = np.stack([np.broadcast_to(one.predictions, (lines, len(fold))) for one in tuned])
    predictions = of_each[np.asarray(chosen)[fold], :, np.arange(len(fold))].T
    order = sorted(range(len(tuned)), key=lambda place: (-round(sign * tuned[place].worth, 9), place))
    return NestedChoice([tuned[place] for place in order], [candidates[place].name for place in chosen], predictions)


def _tuned(
    one: Candidate,
    fold: NDArray[np.integer],
    labels: NDArray[np.integer],
    num_classes: int,
    objective: Objective,
    without: int | None = None,
) -> Tuned:
    """Tune a strategy on all folds, or on all but fold ``without``, with heads that were fitted without that fold."""
    rows = np.flatnonzero(fold != (-1 if without is None else without))
    own = one.of_own_fold(fold) if without is None else one.without(without)
    sign, by_fold = -1 if objective.lower else 1, np.zeros(int(fold.max()) + 1, np.int64)
    for k in np.unique(fold[rows]).tolist():
        others = rows[fold[rows] != k]
        values = _values(one.without(k if without is None else without)[:, :, others], labels[others], num_classes, objective)
        by_fold[k] = _best(sign * values)
    values = _values(own[:, :, rows], labels[rows], num_classes, objective)
    predictions = own[by_fold[fold[rows]], :, rows].T
    (worth,) = _values(predictions[None], labels[rows], num_classes, objective)
    return Tuned(one, values, _best(sign * values), by_fold.tolist(), predictions, float(worth))


def _values(predictions: NDArray[np.integer], labels: NDArray[np.integer], num_classes: int, objective: Objective) -> NDArray[np.float64]:
    """(P,) objective of predictions (P, S, N), mean over seeds."""
    weights = objective.weights(labels, num_classes)
    return np.array([float(np.mean([objective.of_images(labels, line) @ weights for line in point])) for point in predictions])


def _best(values: NDArray[np.float64]) -> int:
    """Position of the largest value; of values that agree to 1e-9 the first."""
    return int(np.argmax(np.round(values, 9)))
