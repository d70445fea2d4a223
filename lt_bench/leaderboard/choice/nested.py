"""Nested choice among strategies and hyper-parameters from held-out predictions. NumPy only.

Each fold in turn is held out. On the others hyper-parameters are chosen for every strategy, and then a strategy; what was chosen predicts the fold. So no row is predicted by a
choice that its label had a part in (Varma and Simon 2006, https://doi.org/10.1186/1471-2105-7-91).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.leaderboard.objective.objective import Objective

FAILED = -1
"""Prediction of a head whose fit diverged: it counts as the worst value of the objective."""


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


@dataclass(frozen=True, eq=False)
class Tuned:
    """A strategy after the choice of its hyper-parameters.

    Attributes:
        candidate: the strategy.
        values: (P,) objective of each point over all held-out rows.
        best: the point that these choose.
        by_fold: the point that was chosen without each fold.
        predictions: (S, N) of what was chosen without each row's own fold.
    """

    candidate: Candidate
    values: NDArray[np.float64]
    best: int
    by_fold: Sequence[int]
    predictions: NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class NestedChoice:
    """The outcome of a nested choice.

    Attributes:
        tuned: the strategies, that with the best point first.
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
    sign, folds = -1 if objective.lower else 1, range(int(fold.max()) + 1)
    lines = max(one.predictions.shape[1] for one in candidates)
    tuned, inner = [], []
    for one in candidates:
        own = one.of_own_fold(fold)
        within = [_values(one.without(k)[:, :, fold != k], labels[fold != k], num_classes, objective) for k in folds]
        by_fold = [_best(sign * values) for values in within]
        inner.append([sign * values[best] for values, best in zip(within, by_fold, strict=True)])
        values = _values(own, labels, num_classes, objective)
        predictions = own[np.asarray(by_fold)[fold], :, np.arange(len(fold))].T
        tuned.append(Tuned(one, values, _best(sign * values), by_fold, predictions))
    chosen = [_best(np.array(values)) for values in zip(*inner, strict=True)]
    of_each = np.stack([np.broadcast_to(one.predictions, (lines, len(fold))) for one in tuned])
    predictions = of_each[np.asarray(chosen)[fold], :, np.arange(len(fold))].T
    order = sorted(range(len(tuned)), key=lambda place: (-round(sign * tuned[place].values[tuned[place].best], 9), place))
    return NestedChoice([tuned[place] for place in order], [candidates[place].name for place in chosen], predictions)


def outcomes(predictions: NDArray[np.integer], labels: NDArray[np.integer], objective: Objective) -> NDArray[Any]:
    """Worth of each prediction (..., N) against labels (N,), that of a fit that diverged as little as any."""
    worth = objective.of_images(labels, predictions)
    return worth if objective.costs is None else np.where(predictions == FAILED, objective.worst, worth)


def _values(predictions: NDArray[np.integer], labels: NDArray[np.integer], num_classes: int, objective: Objective) -> NDArray[np.float64]:
    """(P,) objective of predictions (P, S, N), mean over seeds; the worst there is where one of them is of a fit that diverged."""
    weights = objective.weights(labels, num_classes)
    values = [
        objective.worst if (point == FAILED).any() else float(np.mean([outcomes(line, labels, objective) @ weights for line in point]))
        for point in predictions
    ]
    return np.array(values)


def _best(values: NDArray[np.float64]) -> int:
    """Position of the largest value; of values that agree to 1e-9 the first."""
    return int(np.argmax(np.round(values, 9)))
