"""Differences to one row over boards, with backbones and classes as random samples, for claims on other backbones and classes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from lt_bench.core.errors import UserError
from lt_bench.leaderboard.boards import BoardRows, Row
from lt_bench.leaderboard.stats.across import Across, across
from lt_bench.leaderboard.stats.over_boards import OverBoards

UNTRAINED = "joint"
"""The row that others are compared with where none is named: the stage-1 head as it is."""


@dataclass(frozen=True)
class Effect:
    """Mean difference of a row to the reference over boards, and half-widths of its 95 % intervals: over boards, over classes, over both; infinite for one board.

    `told_apart` says whether it differs from the reference by the test over both, corrected over all pairs of rows. `by_board` has the difference on each board. All are in points. `row` is the row on the first board.
    """

    row: Row
    label: str
    mean: float
    boards: float
    classes: float
    both: float
    told_apart: bool
    by_board: tuple[float, ...]


@dataclass(frozen=True)
class Effects:
    """Differences to a reference on boards that share their images and classes and differ in their backbones, the largest first; `boards` are the names and keys of their caches, `row` is the reference on the first, `one_backbone` a note on boards whose features come from the same weights."""

    reference: str
    row: Row
    boards: tuple[str, ...]
    classes: int
    rows: tuple[Effect, ...]
    digits: int = 2
    one_backbone: str = ""

    @property
    def head(self) -> list[str]:
        """The titles of `lines`."""
        return ["Strategy", "Mean", "± boards", "± classes", "± both", "Told apart", *self.boards]

    @property
    def lines(self) -> list[list[str]]:
        """A line of texts for each row."""
        digits = self.digits
        halves = [
            [f"{half:.{digits}f}" if math.isfinite(half) else "?" for half in (row.boards, row.classes, row.both)] for row in self.rows
        ]
        return [
            [
                row.label,
                f"{row.mean:+.{digits}f}",
                *half,
                "yes" if row.told_apart else "no",
                *(f"{one:+.{digits}f}" for one in row.by_board),
            ]
            for row, half in zip(self.rows, halves, strict=True)
        ]

    @property
    def note(self) -> str:
        """The note under the table: reference, units and intervals."""
        return (
            f"Macro accuracy minus that of {self.reference}, points; half-widths of 95 % intervals with {len(self.boards)} boards, {self.classes} classes, or both as random samples. "
            "Over both is for a claim on other backbones and classes of these kinds. Few boards tell the spread over boards badly, so that the interval over boards alone may be the wider one: it has one degree of freedom fewer than there "
            "are boards, that over both those of classes too. Each interval is for one comparison alone. "
            f"Told apart: from {self.reference}, in macro accuracy, by the test over both, Holm-corrected over all pairs of rows, 5 %; the bars of the critical-difference figure over boards have the same test of the boards' objective."
            + (f" {self.one_backbone}" if self.one_backbone else "")
        )


def random_effects(differences: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Mean of differences (B, K) of boards and classes, and half-widths of its 95 % intervals over boards, over classes, and over both (`_over_both`). Infinite where there is one board or class."""
    of_boards, of_classes = _parts(differences)
    return float(differences.mean()), _half(*of_boards), _half(*of_classes), _half(*_over_both(differences))


def chance_of_none(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value of a mean of zero of differences (B, K), with boards and classes as random samples; NaN where there is one board or class, or no difference at all."""
    variance, degrees = _over_both(differences)
    if not 0 < variance < math.inf:
        return math.nan
    return 2 * float(stdtr(degrees, -abs(float(differences.mean())) / math.sqrt(variance)))


def _parts(differences: NDArray[np.float64]) -> list[tuple[float, int]]:
    """Variance of the mean and its degrees of freedom, over boards and over classes."""
    means = (differences.mean(1), differences.mean(0))
    return [(float(one.var(ddof=1)) / len(one), len(one) - 1) if len(one) > 1 else (math.inf, 1) for one in means]


def _over_both(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Variance of the mean and its degrees of freedom in the crossed layout of random boards and classes.

    ``variance = (MS_b + MS_k - MS_e) / (B K)``, no part of it below that of boards or classes alone, with degrees of freedom by Satterthwaite over its parts (Dorfman, Berbaum and Metz 1992; as `paired`).
    """
    B, K = differences.shape
    (boards, b), (classes, k) = _parts(differences)
    if B < 2 or K < 2:
        return math.inf, 1.0
    rest = differences - differences.mean(1)[:, None] - differences.mean(0)[None] + differences.mean()
    chance = float((rest**2).sum()) / ((B - 1) * (K - 1)) / (B * K)
    variance = max(boards + classes - chance, boards, classes)
    scatter = boards**2 / b + classes**2 / k
    return variance, variance**2 / scatter if scatter else 1.0


def _half(variance: float, degrees: float) -> float:
    return float(stdtrit(degrees, 0.975)) * math.sqrt(variance) if math.isfinite(variance) else math.inf


def effects(rankings: Sequence[BoardRows], reference: str | None = None) -> list[Effects]:
    """One comparison for each split, protocol and mode with several boards, over the rows that are on all of them, each once on a board; none where `joint` is not there and no reference is named.

    Args:
        rankings: the boards.
        reference: label of the row that others are compared with, over boards or on one of them.

    Raises:
        UserError: the reference that is named is not compared over boards, or nothing is.
    """
    alike: dict[tuple[str, ...], list[BoardRows]] = defaultdict(list)
    for ranking in rankings:
        board = ranking.board
        alike[board.dataset, board.split_hash, board.protocol, board.mode].append(ranking)
    several = [group for group in alike.values() if len(group) > 1]
    compared = [result for group in several for result in across(group)]
    results = []
    for result in compared:
        by_label = dict(zip(result.labels, result.rows, strict=True))
        against = reference or UNTRAINED
        if against not in by_label:  # on a single board it may be named otherwise, without settings that tell rows of another board apart
            against = next((label for label, rows in by_label.items() if any(row.label == against for row in rows)), against)
        if against in by_label:
            accuracy = {label: np.stack([_class_accuracy(row) for row in rows]) for label, rows in by_label.items()}
            told = _told_apart(result, accuracy, against)
            of_rows = [
                _effect(by_label[label][0], label, 100 * (one - accuracy[against]), label in told)
                for label, one in accuracy.items()
                if label != against
            ]
            boards = tuple(f"{row.text('cache_name')} {row.board.cache_key[:8]}" for row in by_label[against])
            K = int(np.isfinite(accuracy[against]).all(0).sum())
            largest_first = tuple(sorted(of_rows, key=lambda row: (-row.mean, row.label)))
            results.append(Effects(against, by_label[against][0], boards, K, largest_first, one_backbone=result.one_backbone))
    if reference is not None and not results:
        why = _not_compared(reference, compared) if several else "no two boards share their images and classes"
        raise UserError(f"--against {reference}: {why}")
    return results


def _not_compared(reference: str, compared: Sequence[Across]) -> str:
    """The reason why no row can be compared with this one over boards of one split."""
    known = sorted({label for result in compared for label in result.labels})
    left_out = next((result.left_out[reference] for result in compared if reference in result.left_out), None)
    if not known:
        return "no two rows are on every board of one split" + (f" ({left_out})" if left_out else "")
    return f"{left_out or 'not on every board of one split'}; there are {', '.join(known)}"


def _effect(row: Row, label: str, differences: NDArray[np.float64], told_apart: bool) -> Effect:
    known = differences[:, np.isfinite(differences).all(0)]
    return Effect(row, label, *random_effects(known), told_apart, tuple(known.mean(1).tolist()))


def _told_apart(result: Across, accuracy: Mapping[str, NDArray[np.float64]], against: str) -> set[str]:
    """The rows that are told apart from one in macro accuracy, by class accuracies (boards, K) of each; rows that are the same on every board stand once among the pairs."""
    once = [result.labels[row] for row in result.once]
    worth = np.stack([accuracy[label] for label in once])
    known = np.isfinite(worth).all((0, 1))
    R, B, K = len(once), len(result.boards), int(known.sum())
    if R < 2 or K < 2:
        return set()
    over = OverBoards([worth[:, board, known] for board in range(B)], [np.full(K, 1 / K)] * B, [0] * B, [False] * B)
    differs = dict(zip(once, over.different[once.index(result.repeated.get(against, against))], strict=True))
    return {label for label in result.labels if differs[result.repeated.get(label, label)]}


def _class_accuracy(row: Row) -> NDArray[np.float64]:
    """(K,) on test, mean over seeds; NaN for a class without images."""
    return np.mean([row.runs.array(int(position), "test/class_accuracy") for position in row.positions], axis=0)
