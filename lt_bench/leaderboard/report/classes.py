"""A row of a board class by class, from its stored predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.names import counted
from lt_bench.leaderboard.boards import BoardRows, Row
from lt_bench.leaderboard.intervals import ends_text, objective_text
from lt_bench.leaderboard.objective.objective import MACRO, MICRO, Objective, explained
from lt_bench.leaderboard.stats.clustered import design_of, effects_on_classes
from lt_bench.leaderboard.stats.ranking import ranked
from lt_bench.leaderboard.stats.shares import GROUPS, exact_interval, objective_intervals
from lt_bench.leaderboard.stats.statistics import checked_predictions, class_accuracy

TAKEN_FOR = 3


@dataclass(frozen=True)
class ClassLine:
    """The figures of one class; fractions, NaN where there is nothing to divide by. Counts of predictions are means over seeds.

    Attributes:
        number: 0..K-1.
        name: of the class.
        group: many, medium or few.
        train, test: images.
        recall: share of its test images that are right, `low` and `high` its exact 95 % interval over test images, or over the groups that they come in.
        precision: share of the images taken for it that are of it.
        f1: harmonic mean of both.
        taken_for: the other classes that most of its images are taken for, with the number of images.
    """

    number: int
    name: str
    group: str
    train: int
    test: int
    recall: float
    low: float
    high: float
    precision: float
    f1: float
    taken_for: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class ClassReport:
    """A row class by class.

    Attributes:
        board: the row's board, with this row alone and its statistics.
        labels: (N,) of the test images.
        predictions: (S, N) of each seed.
        confusions: images by (true, predicted) class, mean over seeds; only pairs that occur.
        groups_unknown: that the images come in groups that are not known, and how to name them; empty where that is not so.
    """

    board: BoardRows
    labels: NDArray[np.integer]
    predictions: NDArray[np.integer]
    confusions: Mapping[tuple[int, int], float]
    groups_unknown: str = ""

    @property
    def groups(self) -> NDArray | None:
        """The groups (N,) of the test images, which then are the sample of all intervals; None where each is on its own, or they are not known."""
        return self.board.test_groups

    @property
    def over(self) -> str:
        """The sample of the intervals: test images or test groups."""
        return "test images" if self.groups is None else "test groups"

    @property
    def row(self) -> Row:
        """The row."""
        return self.board.rows[0]

    @property
    def title(self) -> str:
        """Strategy, seeds and board."""
        return f"{self.row.label}, {self.board.title}"

    @cached_property
    def classes(self) -> list[ClassLine]:
        """Every class, in label order."""
        split, K = self.row.split, len(self.row.split.class_names)
        right, taken, test = np.zeros(K), np.zeros(K), np.bincount(self.labels, minlength=K)
        others: dict[int, list[tuple[float, int]]] = {}
        for (true, predicted), images in self.confusions.items():
            taken[predicted] += images
            if true == predicted:
                right[true] = images
            else:
                others.setdefault(true, []).append((-images, predicted))
        with np.errstate(invalid="ignore", divide="ignore"):
            recall, precision, f1 = right / test, right / taken, 2 * right / (test + taken)
        effects = effects_on_classes((self.predictions == self.labels).mean(0), self.labels, K, self.groups)
        low, high = exact_interval(recall, test / effects)
        return [
            ClassLine(
                number=k, name=split.class_names[k], group=next(name for name in GROUPS if getattr(split.groups, name)[k]),
                train=int(split.train_counts[k]), test=int(test[k]), recall=float(recall[k]), low=float(low[k]), high=float(high[k]),
                precision=float(precision[k]), f1=float(f1[k]),
                taken_for=tuple((split.class_names[other], -images) for images, other in sorted(others.get(k, []))[:TAKEN_FOR]),
            )
            for k in range(K)
        ]  # fmt: skip

    @property
    def worst_first(self) -> list[ClassLine]:
        """Classes with test images, the lowest recall first; of equal ones that with most test images."""
        return sorted((one for one in self.classes if one.test), key=lambda one: (one.recall, -one.test, one.number))

    @property
    def figures(self) -> list[tuple[str, str, str]]:
        """Label, value and interval over test images, or their groups, of the objective, of many, medium and few, and of both accuracies."""
        row, objective = self.row, self.board.objective
        assert row.statistics is not None
        interval = ends_text(row.statistics.interval, objective)
        figures = [(objective.title, objective_text(row.score.mean, objective), f"{interval} (95 %, over {self.over})")]
        figures += [self._accuracy(metric) for metric in (MACRO, MICRO) if metric.kind != objective.kind]
        for name, ends in row.statistics.groups.items():
            of = [one for one in self.classes if one.group == name and one.test]
            images = (
                f"{counted(sum(one.test for one in of), 'test image')}{self._groups_of(name)} in {counted(len(of), 'class', 'classes')}"
            )
            figures.append((name.capitalize(), f"{100 * row.estimate(f'test/{name}').mean:.2f} %", f"{ends_text(ends)}, {images}"))
        return figures

    def _groups_of(self, name: str) -> str:
        """Groups of the test images of many, medium or few; nothing where groups are not the sample."""
        if self.groups is None:
            return ""
        return f" of {counted(len(np.unique(self.groups[getattr(self.row.split.groups, name)[self.labels]])), 'group')}"

    def _accuracy(self, metric: Objective) -> tuple[str, str, str]:
        """Macro or micro accuracy beside another objective."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        right, accuracy = (self.predictions == self.labels).mean(0)[None], class_accuracy(self.predictions, self.labels, counts)[None]
        (ends,) = objective_intervals(right, accuracy, counts, metric, design_of(metric, self.labels, len(counts), self.groups))
        return metric.title, objective_text(self.row.estimate(f"test/{metric.metric}").mean, metric), str(ends_text(ends))

    @property
    def note(self) -> str:
        """The legend of the figures."""
        seeds = f"Means over seeds {', '.join(map(str, self.row.seeds))}. " if len(self.row.seeds) > 1 else ""
        sample = "" if self.groups is None else " Intervals take groups as the sample, since images of one group are alike."
        unknown = self.groups_unknown and f" {self.groups_unknown}"
        return (
            f"Objective: {explained(self.board.objective, self.board.test_counts)}. {seeds}Recall with its exact binomial 95 % interval over {self.over}; "
            f"precision as in this test set, whose class shares it depends on.{sample}{unknown} {self.board.shared_images}".rstrip()
        )

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON values; NaN where there is nothing to divide by."""
        row = self.row
        assert row.statistics is not None
        return {
            "row": row.label, "board": self.board.title, "seeds": row.seeds, "records": [str(row.runs.columns["id"][position]) for position in row.positions],
            "objective": {"name": self.board.objective.text, "value": row.score.mean, "interval": row.statistics.interval}, "groups": row.statistics.groups,
            "intervals_over": self.over, "groups_unknown": self.groups_unknown or None,
            "classes": [
                {**vars(one), "taken_for": [{"name": name, "images": images} for name, images in one.taken_for]} for one in self.classes
            ],
        }  # fmt: skip


def class_report(board: BoardRows, row: Row, groups: NDArray | None = None, groups_unknown: str = "") -> ClassReport:
    """The report of a row of a board.

    Args:
        board: of the row.
        row: with or without statistics.
        groups: (N,) of the test images, in place of those that the records say.
        groups_unknown: as of `ClassReport`.

    Raises:
        UserError: a run has no predictions, or they are not those of its figures.
    """
    alone = ranked(replace(board, rows=[row], test_groups=board.test_groups if groups is None else groups))
    labels = row.runs.array(int(row.positions[0]), "test_labels").astype(np.int64)
    predictions, K = checked_predictions(row, labels), len(row.split.class_names)
    pairs, counts = np.unique(labels * K + predictions, return_counts=True)
    confusions = {divmod(int(pair), K): count / len(predictions) for pair, count in zip(pairs, counts.tolist(), strict=True)}
    return ClassReport(alone, labels, predictions, confusions, groups_unknown)
