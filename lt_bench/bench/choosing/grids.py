"""Predictions of every point of a grid for validation and test images, stored in a sealed file; budget curves are drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.bench.choosing.points import require_blind
from lt_bench.bench.choosing.predictions import CHOICES, read_predictions, write_predictions
from lt_bench.bench.health import signs_of_fit, signs_of_predictions
from lt_bench.bench.planning import Planned, plan
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.shares import ShareOfFits
from lt_bench.bench.suite.units import Watcher, units_of
from lt_bench.bench.tuning.points import accepted, grid_points
from lt_bench.core.identity import record_id
from lt_bench.leaderboard.choice.budgets import Points
from lt_bench.leaderboard.choice.nested import FAILED
from lt_bench.leaderboard.objective.objective import Objective
from lt_bench.results.health import DIVERGENCE
from lt_bench.strategies.entry import Entry

AGAIN = "run `lt-bench budgets` again"
VIEWS = ("val", "test")


@dataclass(frozen=True)
class GridFits:
    """The fits of every point of a strategy's grid.

    Attributes:
        entry: the strategy.
        points: hyper-parameters of each point; a strategy without a grid has one point, its own.
        planned: the runs of each point, one for every seed.
        bench: the opened cache.
        path: file of the predictions; None where they are not stored.
    """

    entry: Entry
    points: Sequence[dict[str, Any]]
    planned: Sequence[Sequence[Planned]]
    bench: CacheSource
    path: Path | None = None

    @classmethod
    def of(cls, entry: Entry, bench: CacheSource, seeds: Sequence[int], results: Path | None = None) -> GridFits:
        """Make the fits; their predictions are stored in ``results`` under the hash of all inputs.

        Raises:
            UserError: the strategy takes no point of its grid here, or learns from validation images.
        """
        points = accepted(entry, bench.cache, {}, grid_points(entry, {}) if entry.grid else [{}])[0]
        require_blind(entry, bench.cache, points[0])
        fits = cls(entry, points, [plan(entry, bench.manifest, point, seeds) for point in points], bench)
        return fits if results is None else replace(fits, path=results / CHOICES / f"{entry.public_name}-{record_id(fits.identity)}.json")

    @property
    def identity(self) -> dict[str, Any]:
        """Inputs that determine the predictions, as plain JSON."""
        runs = [run for of_point in self.planned for run in of_point]
        return {
            "strategy": self.entry.public_name, "code": sorted({run.code.text for run in runs}), "seeds": [run.repetition for run in self.planned[0]],
            "points": [of_point[0].hyperparameters for of_point in self.planned], "cache_key": self.bench.manifest.key, "views": list(VIEWS),
        }  # fmt: skip

    @property
    def are_done(self) -> bool:
        """Whether the predictions are stored."""
        return self.path is not None and self.path.is_file()

    def __len__(self) -> int:
        return sum(map(len, self.planned))

    def predictions(self, watcher: Watcher) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Predictions (P, S, N) for validation and for test images, read from their file or else computed and stored; `FAILED` where a fit diverged.

        Raises:
            UserError: a fit fails, or the stored file is damaged or was altered.
        """
        sizes = [len(self.bench.split(view)) for view in VIEWS]
        if self.path is not None and self.are_done:
            both = read_predictions(self.path, AGAIN).reshape(len(self.points), -1, sum(sizes))
        else:
            both = self._fitted_predictions(sum(sizes), watcher)
            if self.path is not None:
                write_predictions(self.path, self.identity, both)
        return both[..., : sizes[0]], both[..., sizes[0] :]

    def worth(self, objective: Objective, watcher: Watcher) -> Points:
        """The points with the objective of each on validation, which ranks them, and on test, means over seeds."""
        validation, test = (self._values(objective, view, of) for view, of in zip(VIEWS, self.predictions(watcher), strict=True))
        return Points.of(self.entry.public_name, validation, test, lower=objective.lower)

    def choice_on_test(self, objective: Objective, watcher: Watcher) -> NDArray[np.int32]:
        """(S, N) predictions, for the test images, of the point that validation ranks first."""
        validation, test = self.predictions(watcher)
        places = np.arange(len(self.points), dtype=np.float64)
        return test[int(Points.of("", self._values(objective, "val", validation), places, lower=objective.lower).test[0])]

    def _values(self, objective: Objective, view: str, predictions: NDArray[np.integer]) -> NDArray[np.float64]:
        """(P,) objective of each point on a view, mean over seeds, of predictions (P, S, N)."""
        labels = self.bench.split(view).labels.cpu().numpy()
        return np.mean([[self._value(objective, labels, head) for head in point] for point in predictions], axis=1)

    def _value(self, objective: Objective, labels: NDArray[np.integer], predictions: NDArray[np.integer]) -> float:
        """The objective of a head; the worst possible value where its fit diverged."""
        if predictions[0] == FAILED:
            return objective.worst
        return objective.value(labels, predictions, self.bench.manifest.dataset.num_classes)

    def _fitted_predictions(self, images: int, watcher: Watcher) -> NDArray[np.int32]:
        """Fit every run and predict both views (P, S, images)."""
        place = {run.id: (p, s) for p, runs in enumerate(self.planned) for s, run in enumerate(runs)}
        both = np.full((len(self.points), len(self.planned[0]), images), FAILED, np.int32)
        for unit in units_of(self.bench, [run for runs in self.planned for run in runs]):
            watcher.begins(0, unit)
            for runs, fitted in self.bench.fitted(unit.runs, ShareOfFits(partial(watcher.reaches, 0)).of_stack):
                for head, run in enumerate(runs):
                    if not fitted.is_finite(head):
                        continue
                    measured = {view: self.bench.measure(fitted.module(head), view) for view in VIEWS}
                    signs = signs_of_fit(fitted, head) | signs_of_predictions({"val": measured["val"]}, fitted)
                    if DIVERGENCE.isdisjoint(signs):
                        both[place[run.id]] = np.concatenate([measured[view].predictions for view in VIEWS])
            watcher.ends(0, unit, len(unit.runs))
        return both
