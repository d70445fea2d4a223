"""Held-out predictions of every point of a strategy, stored in a sealed file that is named by the hash of their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.bench.choosing.ground import Ground, Part
from lt_bench.bench.choosing.predictions import CHOICES, read_predictions, write_predictions
from lt_bench.bench.health import signs_of_fit, signs_of_predictions
from lt_bench.bench.planning import Planned, plan
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.shares import ShareOfFits
from lt_bench.bench.suite.units import Watcher, units_of
from lt_bench.core.identity import record_id
from lt_bench.engine.evaluate import evaluate
from lt_bench.leaderboard.choice.nested import FAILED, Candidate
from lt_bench.results.health import DIVERGENCE
from lt_bench.strategies.entry import Entry


@dataclass(frozen=True)
class Fits:
    """The fits of a strategy on a ground.

    Attributes:
        entry: the strategy.
        points: its points.
        planned: the runs of each point.
        ground: the held-out rows.
        path: file of the predictions; None where they are not stored.
    """

    entry: Entry
    points: Sequence[dict[str, Any]]
    planned: Sequence[Sequence[Planned]]
    ground: Ground
    path: Path | None

    @classmethod
    def of(cls, entry: Entry, points: Sequence[dict[str, Any]], seeds: Sequence[int], ground: Ground, results: Path | None) -> Fits:
        """Make the fits; their predictions are stored in ``results`` under the hash of all inputs."""
        planned = [plan(entry, ground.bench.manifest, point, seeds) for point in points]
        fits = cls(entry, points, planned, ground, None)
        return fits if results is None else replace(fits, path=results / CHOICES / f"{entry.public_name}-{record_id(fits.identity)}.json")

    @property
    def seeds(self) -> list[int]:
        """The repetitions of every point."""
        return [run.repetition for run in self.planned[0]]

    @property
    def identity(self) -> dict[str, Any]:
        """Inputs that determine the predictions, as plain JSON."""
        code = sorted({run.code.text for runs in self.planned for run in runs})
        hyperparameters = [runs[0].hyperparameters for runs in self.planned]
        return {"strategy": self.entry.public_name, "code": code, "seeds": self.seeds, "points": hyperparameters, **self.ground.identity}

    @property
    def are_done(self) -> bool:
        """Whether the predictions are stored."""
        return self.path is not None and self.path.is_file()

    def __len__(self) -> int:
        return len(self.points) * len(self.seeds) * len(self.ground.parts)

    def candidate(self, watcher: Watcher) -> Candidate:
        """The strategy with its predictions, read from their file or else computed and stored.

        Raises:
            UserError: a fit fails, or the stored file is damaged or was altered.
        """
        if self.path is not None and self.are_done:
            predictions = read_predictions(self.path).reshape(len(self.points), len(self.seeds), *self.ground.shape)
        else:
            predictions = self._predictions(watcher)
            if self.path is not None:
                write_predictions(self.path, self.identity, predictions)
        several = self.entry.takes_batches and len(self.seeds) > 1
        return Candidate(self.entry.public_name, self.points, self.seeds if several else None, predictions)

    def _predictions(self, watcher: Watcher) -> NDArray[np.int32]:
        """Fit every run without the folds of each part, and predict the rows of the part."""
        runs = [run for point in self.planned for run in point]
        place = {run.id: (p, s) for p, point in enumerate(self.planned) for s, run in enumerate(point)}
        predictions = np.full((len(self.points), len(self.seeds), *self.ground.shape), FAILED, np.int32)
        for part in self.ground.parts:
            bench = self.ground.without(part, self.entry)
            for unit in units_of(bench, runs):
                watcher.begins(0, unit)
                for run, of_run in _predictions(bench, unit.runs, self.ground, part, watcher).items():
                    p, s = place[run]
                    predictions[p, s, part.outer, part.rows] = of_run
                watcher.ends(0, unit, len(unit.runs))
        return predictions


def _predictions(
    bench: CacheSource, runs: Sequence[Planned], ground: Ground, part: Part, watcher: Watcher
) -> Mapping[str, NDArray[np.int32] | int]:
    """Predictions of the head of each run for the rows of a part, by run id; `FAILED` where its fit diverged."""
    rows, predictions = ground.predicted(part), {}
    for of_stack, fitted in bench.fitted(runs, ShareOfFits(partial(watcher.reaches, 0)).of_stack):
        for head, run in enumerate(of_stack):
            if not fitted.is_finite(head):
                predictions[run.id] = FAILED
                continue
            measured = evaluate(fitted.module(head), (rows.view("plain"),), rows.labels, bench.manifest.dataset.train_counts)
            signs = signs_of_fit(fitted, head) | signs_of_predictions({ground.split: measured}, fitted)
            predictions[run.id] = FAILED if not DIVERGENCE.isdisjoint(signs) else measured.predictions
    return predictions
