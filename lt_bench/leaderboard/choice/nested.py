"""Nested choice among strategies and hyper-parameters from held-out predictions. NumPy only.

A strategy is worth what its points predict that are chosen without the fold that they predict; the strategy of the largest worth is taken, so one with many points to try has no advantage.
To know what to expect of it, each fold in turn is held out, and the whole choice, strategies and points, is made on the others; what was chosen predicts the fold. So no row is predicted by a
choice that its label had a part in (Varma and Simon 2006, https://doi.org/10.1186/1471-2105-7-91).
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
        seeds: repetitions of every point, S of them; None for a strategy without randomness, which has one line.
        predictions: (P, S, F, N): of held-out row n by a head that was fitted without the row's own fold and without fold f; F is 1 where no head was fitted on any held-out row.
    """

    name: str
    points: Sequence[dict[str, Any]]
    seeds: Sequence[int] | None
    predictions: NDArray[np.integer]

    def without(self, fold: int) -> NDArray[np.integer]:
        """(P, S, N) predictions of heads that fold ``fold`` had no part in."""
        return self.predictions[:, :, fold if self.predictions.shape[2] > 1 else 0]

    def of_own_fold(self, fold: NDArray[np.integer]) -> NDArray[np.integer]:
        """(P, S, N) predictions of heads that were fitted without each row's own fold (N,) alone."""
        if self.predictions.shape[2] == 1:
            return self.predictions[:, :, 0]
        return self.predictions[:, :, fold, np.arange(len(fold))]

    @property
    def converged(self) -> Candidate:
        """The strategy with those of its points of which no fit diverged."""
        places = np.flatnonzero((self.predictions != FAILED).all((1, 2, 3))).tolist()
        return replace(self, points=[self.points[place] for place in places], predictions=self.predictions[places])


@dataclass(frozen=True, eq=False)
class Tuned:
    """A strategy after the choice of its hyper-parameters.

    Attributes:
        candidate: the strategy.
        values: (P,) objective of each point over all held-out rows.
        best: the point that these choose.
        by_fold: the point that was chosen without each fold.
        predictions: (S, N) of what was chosen without each row's own fold.
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
        tuned: the strategies, that of the largest worth first.
        by_fold: name of the strategy that was chosen without each fold.
        predictions: (S, N) of what was chosen, strategy and point, without each row's own fold.
    """

    tuned: Sequence[Tuned]
    by_fold: Sequence[str]
    predictions: NDArray[np.integer]


def nested_choice(
    candidates: Sequence[Candidate], fold: NDArray[np.integer], labels: NDArray[np.integer], num_classes: int, objective: Objective
) -> NestedChoice:
    """Choose without each fold in turn, and on all rows.

    Args:
        candidates: the strategies, of which earlier ones come first where two are as good.
        fold: (N,) fold 0..F-1 of each held-out row.
        labels: (N,).
        num_classes: K.
        objective: that decides.
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
