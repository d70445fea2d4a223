"""Rows over boards, with boards and classes as samples: tests of every two rows, and intervals of mean places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lt_bench.leaderboard.boards import Row
from lt_bench.leaderboard.class_accuracies import class_accuracies
from lt_bench.leaderboard.stats.groups import holm
from lt_bench.leaderboard.stats.paired import LEVEL, PairedTests, student
from lt_bench.leaderboard.stats.seed_noise import shared_noise

DRAWS = 2000
_DIGITS = 9  # rows whose scores differ by rounding alone share a place
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OverBoards:
    """Worth of R rows in each class of B boards.

    Attributes:
        worth: for each board (R, K), of the K classes that count there.
        weights: for each board (K,) of the classes, adding up to 1.
        splits: (B,) equal for boards of one split, which share their classes.
        lower: for each board, whether smaller is better.
    """

    worth: Sequence[Numbers]
    weights: Sequence[Numbers]
    splits: Sequence[int]
    lower: Sequence[bool]

    @classmethod
    def of(cls, rows: Sequence[Sequence[Row]]) -> OverBoards | None:
        """The worth of rows that are on every board, under the boards' objectives; None where class accuracies are not stored, or rows, boards or classes are fewer than two."""
        worth, weights, lower = [], [], []
        for of_board in zip(*rows, strict=True):
            objective = of_board[0].objective
            of_rows = [_by_class(row) for row in of_board]
            if any(one is None for one in of_rows):
                return None
            values, counts = (np.stack(one) for one in zip(*(one for one in of_rows if one is not None), strict=True))
            of_classes = objective.class_weights(counts[0])
            within = of_classes > 0
            worth.append(values[:, within])
            weights.append(of_classes[within])
            lower.append(objective.lower)
        names = [row.board.split_hash for row in rows[0]] if rows else []
        enough = len(names) > 1 and len(rows) > 1 and all(len(one) > 1 for one in weights)
        return cls(worth, weights, [names.index(name) for name in names], lower) if enough else None

    @property
    def means(self) -> Numbers:
        """(R, B) objective of each row on each board, signed so that larger is better."""
        columns = [
            values @ weights * (-1 if lower else 1) for values, weights, lower in zip(self.worth, self.weights, self.lower, strict=True)
        ]
        return np.stack(columns, axis=1)

    @cached_property
    def tests(self) -> PairedTests:
        """Tests of row i minus row j by their mean difference over boards, larger for better.

        Boards, and the classes of each split, are random in a crossed layout (Dorfman, Berbaum and Metz 1992). The variance is that over boards, plus that over classes of the split's mean, which its boards share,
        minus the chance variance that both contain; it is at least that over boards, and that over classes, alone. Degrees of freedom are by Satterthwaite. For one split this is ``effects.random_effects``, apart from the variance over boards (`_variance_over_boards`).
        A board that is alone in its split adds no variance over classes: the variance over boards contains it. A pair's standard error is at least that of ``effects.random_effects``.
        """
        means = self.means
        B = means.shape[1]
        boards, degrees = self._variance_over_boards(means)
        classes, chance, scatter, most = 0.0, 0.0, 0.0, float(B - 1)
        for split in sorted(set(self.splits)):
            own = [board for board, of in enumerate(self.splits) if of == split]
            if len(own) < 2:
                continue
            w, n = self.weights[own[0]], len(own)
            C = len(w)
            apart = np.stack([(self.worth[board] - (self.worth[board] @ w)[:, None]) * w for board in own])  # (n, R, C)
            usual = apart.mean(0)
            share = (n / B) ** 2 * C / (C - 1)
            of_split = share * _distances(usual)
            classes = classes + of_split
            chance = chance + share * sum(_distances(one - usual) for one in apart) / (n - 1) / n
            scatter = scatter + of_split**2 / (C - 1)
            most = max(most, float(C - 1))
        scatter = scatter + np.maximum(boards, chance) ** 2 / degrees
        variance = np.maximum(np.maximum(boards + classes - chance, boards), classes)
        mean = means.mean(1)
        return student(mean[:, None] - mean[None], variance, np.zeros_like(variance), scatter, most)

    def _variance_over_boards(self, means: Numbers) -> tuple[Numbers, float]:
        """Variance (R, R) over boards of the mean difference of two rows, and its degrees of freedom.

        Two or three boards estimate it badly, and some of many pairs agree on all boards by chance. So it is the larger of the pair's own variance and of that variance shrunk toward the mean of all pairs (`shared_noise`).
        """
        R, B = means.shape
        own = _distances(means - means.mean(1, keepdims=True)) / (B - 1) / B
        apart = means - means.mean(0)
        usual, more = shared_noise(list(apart * np.sqrt(R / (R - 1))))
        degrees = B - 1 + more
        drawn = ((B - 1) * own + more * 2 * usual / B) / degrees
        return np.maximum(own, drawn) * (1 - np.eye(R)), degrees

    @cached_property
    def different(self) -> NDArray[np.bool_]:
        """(R, R): whether two rows are told apart by `tests`, Holm-corrected over all pairs."""
        upper = np.triu_indices(len(self.worth[0]), 1)
        result = np.zeros_like(self.tests.p, bool)
        result[upper] = holm(self.tests.p[upper]) < LEVEL
        return result | result.T

    @cached_property
    def mean_places(self) -> Numbers:
        """(R, 2) ends of the 95 % interval of each row's mean place: percentiles of a bootstrap of boards and classes together, seeded.

        Of B boards B - 1 are drawn, and of C classes of a split C - 1, which all its boards share: so the variance over few boards is not too small (McCarthy and Snowden 1985).
        """
        from scipy.stats import rankdata  # half a second that tables of one board do not need

        rng, B = np.random.default_rng(0), len(self.worth)
        boards = rng.multinomial(B - 1, np.full(B, 1 / B), DRAWS) / (B - 1)
        drawn = {}
        for board, split in enumerate(self.splits):
            if split not in drawn:
                C = len(self.weights[board])
                drawn[split] = rng.multinomial(C - 1, np.full(C, 1 / C), DRAWS).astype(np.float32)
        mean = np.zeros((DRAWS, len(self.worth[0])))
        for board, split in enumerate(self.splits):
            counted = drawn[split] * self.weights[board]
            total = np.maximum(counted.sum(1, keepdims=True), np.finfo(np.float64).tiny)
            scores = (counted @ self.worth[board].T) / total * (1 if self.lower[board] else -1)
            mean += boards[:, board, None] * rankdata(np.round(scores, _DIGITS), axis=1)
        return np.percentile(mean, [2.5, 97.5], axis=0).T


def _distances(values: Numbers) -> Numbers:
    """Squared distances (R, R) between the rows of ``values`` (R, n)."""
    squares = np.einsum("ij,ij->i", values, values)
    return np.maximum(squares[:, None] + squares[None] - 2 * (values @ values.T), 0.0)


def _by_class(row: Row) -> tuple[Numbers, NDArray[np.int64]] | None:
    """Mean worth (K,) of the images of each class in a row, over seeds, and numbers of test images (K,); None where they are not stored."""
    if not row.objective.lower:
        arrays = class_accuracies(row)
        if not arrays:
            return None
        counts = arrays[0][1].astype(np.int64)
        return np.mean([accuracy for accuracy, _ in arrays], axis=0), counts
    pairs = [row.runs.find_arrays(int(position), "test_labels", "test_predictions") for position in row.positions]
    known = [(labels, predicted) for labels, predicted in pairs if labels is not None and predicted is not None]
    if len(known) < len(pairs):
        return None
    labels, K = known[0][0], len(row.split.class_names)
    worth = np.mean([row.objective.of_images(labels, predicted) for _, predicted in known], axis=0)
    counts = np.bincount(labels, minlength=K)
    return np.bincount(labels, worth, K) / np.maximum(counts, 1), counts
