"""Fitting the points of a grid and scoring them on validation, in this process or by several workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from lightning.pytorch import Callback
from numpy.typing import NDArray

from lt_bench.bench.health import signs_of_fit, signs_of_predictions
from lt_bench.bench.planning import Planned
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.shares import ShareOfFits
from lt_bench.bench.suite.sharing import work_of, workers_for
from lt_bench.bench.suite.units import Unit, Watcher, outcomes_of, units_of
from lt_bench.bench.tuning.shifts import ShiftedStart
from lt_bench.bench.tuning.unfinished import Score, UnfinishedScores
from lt_bench.bench.validation import Validation
from lt_bench.bench.workers import ATTEMPTS, Death, Telling
from lt_bench.core.errors import FAILURES_OF_CODE, UserError, described
from lt_bench.core.processes import current
from lt_bench.leaderboard.objective.objective import Objective
from lt_bench.results.health import DIVERGED

ALL = Validation()


class Scorer(Telling):
    """Fits units and scores their heads; keeps the features of the cache in memory.

    Args:
        objective: objective of the scores.
        bench: the opened cache; None to open it with the first unit.
        shifted: fit from initial heads that differ by rounding (`shifts.ShiftedStart`).
        validation: which images decide.
    """

    def __init__(self, objective: Objective, bench: CacheSource | None = None, shifted: bool = False, validation: Validation = ALL) -> None:
        self._objective, self._bench, self._shifted, self._validation = objective, bench, shifted, validation
        self._draws: list[NDArray[np.intp]] = []

    def __call__(self, unit: Unit) -> dict[str, Score] | str:
        """Fit and score a unit: scores by run id, or a line that describes the error."""
        try:
            unit.check_code()
            self._bench = self._bench or unit.opened()
            if not self._draws:  # once a worker, not once a unit
                labels = self._bench.split("val").labels.cpu().numpy()
                self._draws = self._validation.rows(labels, self._bench.manifest.dataset.train_counts)
            watch = ShareOfFits(self.tell).of_stack
            callbacks = (lambda: [ShiftedStart(), *watch()]) if self._shifted else watch
            return _scores(self._bench, unit.runs, self._objective, callbacks, self._draws)
        except (UserError, *FAILURES_OF_CODE) as error:
            if current().world > 1 and not isinstance(error, UserError):
                raise  # the other processes may not have failed, and wait for this one
            return described(error)


def _scores(
    bench: CacheSource,
    planned: Sequence[Planned],
    objective: Objective,
    callbacks: Callable[[], Sequence[Callback]],
    draws: Sequence[NDArray[np.intp]],
) -> dict[str, Score]:
    """The score of each run, by run id; one fit serves all draws."""
    scores: dict[str, Score] = {}
    labels, K = bench.split("val").labels.cpu().numpy(), bench.manifest.dataset.num_classes
    for runs, fitted in bench.fitted(planned, callbacks):
        for head, run in enumerate(runs):
            if not fitted.is_finite(head):
                scores[run.id] = Score((objective.worst,) * len(draws), objective.worst, (DIVERGED,))
                continue
            measured = bench.measure(fitted.module(head), "val", None)
            signs = signs_of_fit(fitted, head) | signs_of_predictions({"val": measured}, fitted)
            predicted = measured.predictions
            values = tuple(objective.value(labels[rows], predicted[rows], K) for rows in draws)
            scores[run.id] = Score(values, objective.value(labels, predicted, K), tuple(signs))
    return scores


def workers_of(bench: CacheSource, points: Sequence[Sequence[Planned]], workers: int | None) -> int:
    """Number of processes that share the points: ``workers``, or `workers_for` where it is None; at most one for each point."""
    return min(len(points), workers or workers_for(bench.hardware, [work_of(bench, [run for point in points for run in point])]))


def scores_of(
    bench: CacheSource, points: Sequence[Sequence[Planned]], objective: Objective, workers: int, watcher: Watcher, *, shifted: bool = False,
    validation: Validation = ALL, unfinished: UnfinishedScores | None = None, later: int = 0,
) -> dict[str, Score]:  # fmt: skip
    """The score of every run of every point, by run id.

    Args:
        bench: the opened cache.
        points: the runs of each point of the grid, one for every seed.
        objective: of the scores.
        workers: number of processes that share the points.
        watcher: receives the progress.
        shifted: as of `Scorer`.
        validation: as of `Scorer`.
        unfinished: scores of an interrupted tuning, whose fits are not repeated; scores of every finished unit are added to it.
        later: number of fits that follow these, for the time left.

    Raises:
        UserError: a fit fails, or a unit's workers died ``ATTEMPTS`` times.
    """
    # Neighbouring points of a grid take similar times, so every worker gets points from the whole grid.
    at_once = max(1, bench.most_heads // max(map(len, points)))
    shares = [points[part::workers] for part in range(workers)]
    parts = [share[start : start + at_once] for share in shares for start in range(0, len(share), at_once)]
    units = [unit for part in parts for unit in units_of(bench, [run for point in part for run in point])]
    scores = {} if unfinished is None else unfinished.of(shifted)
    left = [
        unit for unit in units if any(run.id not in scores for run in unit.runs)
    ]  # whole units, so that stacks are those of a tuning in one go
    total = sum(map(len, points))
    kind = "fits of the best again" if shifted else "fits"
    watcher.expects(bench, total, total - sum(len(unit.runs) for unit in left), kind, later)
    with watcher:
        for worker, unit, outcome in outcomes_of(
            Scorer(objective, bench if workers == 1 else None, shifted, validation), left, workers, watcher
        ):
            if isinstance(outcome, Death):
                raise UserError(
                    f"{unit.name}: its worker died {ATTEMPTS} times ({outcome}); if memory was short, fewer --workers take less"
                )
            if isinstance(outcome, str):
                raise UserError(outcome)
            scores |= outcome
            if unfinished is not None:
                unfinished.add(shifted, outcome)
            watcher.ends(worker, unit, len(unit.runs))
    return scores
