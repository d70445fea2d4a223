"""All statistics of one board from the stored predictions, kept in a cache keyed by the records' content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from lt_bench.core.errors import UserError
from lt_bench.core.provenance import digest
from lt_bench.core.stored import stored_or_computed
from lt_bench.features.locate import home
from lt_bench.leaderboard.boards import BoardRows, Row, Standing
from lt_bench.leaderboard.objective.objective import MACRO, MICRO
from lt_bench.leaderboard.pairs import Pairs, rounded
from lt_bench.leaderboard.stats.clustered import design_of, effects_on_shots
from lt_bench.leaderboard.stats.groups import holm, standings
from lt_bench.leaderboard.stats.paired import LEVEL, POWER_FACTOR, compare_all
from lt_bench.leaderboard.stats.seed_noise import pooled_noise, seed_noise
from lt_bench.leaderboard.stats.shares import GROUPS, group_intervals, objective_intervals, over_classes, student_intervals

ROUNDING = 1e-6
"""Largest difference of a recorded accuracy from that of the predictions: metrics are computed in float32."""


@dataclass(frozen=True)
class BoardStatistics:
    """Statistics of a board's R rows, in the order of the board; `standings` are those of its ranked rows, which come first.

    `intervals[r]`: 95 % interval of row r's objective over test images, or over the groups that they come in, as all that follow. `behind[r]`: interval of row r minus the best row. `groups[name][r]`: interval over test images of its accuracy on many, medium or few,
    without groups that have no test images. `over_classes[r]` and `behind_classes[r]`: those over classes, for accuracies. `resolvable`: the smallest difference found with 80 % power at the 5 % level by the median pair (before Holm), None where no pair can be tested.
    `pairs`: every two rows. Fractions, or costs.
    """

    intervals: list[tuple[float, float]]
    behind: list[tuple[float, float]]
    groups: dict[str, list[tuple[float, float]]]
    over_classes: list[tuple[float, float] | None]
    behind_classes: list[tuple[float, float] | None]
    standings: list[Standing]
    resolvable: float | None
    pairs: Pairs = field(compare=False)


def cache_directory() -> Path:
    """Directory of kept statistics: `statistics` in the suite's home directory (`$LT_BENCH_HOME`)."""
    return home() / "statistics"


def board_statistics(ranking: BoardRows, directory: Path | None = None) -> BoardStatistics:
    """Statistics of a board, read from `directory` if the same program stored them for the same records and predictions, else computed and stored; None stores nothing.

    Raises:
        UserError: a side file is missing, a record's accuracy is not that of its predictions, or two rows were not evaluated on the same images.
    """
    if directory is None:
        return compute(ranking)
    path = directory / f"{ranking.fingerprint}-{_program()}-statistics.json"
    return stored_or_computed(path, lambda: compute(ranking), _to_json, _from_json)


@cache
def _program() -> str:
    """Fingerprint of the files that compute statistics, so that those of another program are never shown."""
    here = Path(__file__).parent
    files = (*sorted(here.glob("*.py")), here.parent / "ties.py", here.parent / "pairs.py", here.parent / "objective" / "objective.py")
    return digest(b"\n".join(path.read_bytes() for path in files))


def compute(ranking: BoardRows) -> BoardStatistics:
    """Statistics of a board, computed without a cache."""
    objective, split = ranking.objective, ranking.rows[0].split
    labels = ranking.rows[0].runs.array(ranking.rows[0].positions[0], "test_labels")
    design = design_of(objective, labels, len(split.class_names), ranking.test_groups)
    predictions = [checked_predictions(row, labels) for row in ranking.rows]
    outcomes = [objective.of_images(labels, one) for one in predictions]
    worth = np.stack([one.mean(0, dtype=np.float64) for one in outcomes])
    counts = np.bincount(labels, minlength=len(split.class_names))
    accuracy = np.stack([class_accuracy(one, labels, counts) for one in predictions])
    seeds = [row.varied_seeds for row in ranking.rows]
    noises = [seed_noise(values, design) for values, has in zip(outcomes[: ranking.ranked], seeds, strict=False) if has is not None]
    expected = pooled_noise([noise for noise in noises if noise is not None])
    tests = compare_all(outcomes, seeds, expected, design, objective.span)
    different = np.zeros(tests.p.shape, bool)
    ranked = np.arange(len(outcomes)) < ranking.ranked
    both = np.outer(ranked, ranked)
    pairs, others = (np.nonzero(np.triu(one, 1)) for one in (both, ~both))
    for family in (pairs, others):  # of ranked rows, and of controls with any
        different[family] = holm(tests.p[family]) < LEVEL
    table = rounded(tests.difference, stdtrit(tests.degrees, 1 - LEVEL / 2) * tests.error, different | different.T)
    errors = tests.error[pairs]
    resolvable = POWER_FACTOR * float(np.median(errors[np.isfinite(errors)])) if np.isfinite(errors).any() else None
    intervals = objective_intervals(worth, accuracy, counts, objective, design)
    behind = [(0.0, 0.0), *student_intervals(worth - worth[:1], design, objective.span)[1:]]
    places = standings(table.better(lower=objective.lower)[: ranking.ranked, : ranking.ranked])
    weights = np.zeros(len(counts)) if objective.lower else objective.class_weights(counts)
    over, behind_over = (over_classes(one, weights) for one in (accuracy, accuracy - accuracy[:1]))
    shots = group_intervals(accuracy, counts, split.groups, _effects(ranking, predictions, labels))
    return BoardStatistics(intervals, behind, shots, over, behind_over, places, resolvable, table)


def _effects(
    ranking: BoardRows, predictions: Sequence[NDArray[np.integer]], labels: NDArray[np.integer]
) -> dict[str, NDArray[np.float64]] | None:
    """Design effects of each row's accuracy on many, medium and few, where test images come in groups."""
    if ranking.test_groups is None:
        return None
    right = np.stack([(one == labels).mean(0) for one in predictions])
    return effects_on_shots(right, labels, ranking.rows[0].split.groups, ranking.test_groups)


def class_accuracy(predictions: NDArray[np.integer], labels: NDArray[np.integer], counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """(K,) accuracy of each class, mean over seeds, from predictions (S, N); NaN for a class without images."""
    right = np.bincount(labels, (predictions == labels).mean(0), len(counts))
    return np.divide(right, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def checked_predictions(row: Row, labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """(S, N) stored predictions of each seed.

    Raises:
        UserError: a run has other test labels than the board, or says other accuracies than its predictions give.
    """
    read = [row.runs.read(int(position), "test_predictions", "test_labels") for position in row.positions]
    for position, (_, own) in zip(row.positions, read, strict=True):
        if not np.array_equal(own, labels):
            path = row.runs.columns["path"][position]
            raise UserError(
                f"{path}: its test labels are not those of the other runs on {row.board.dataset}; move the record away and run again"
            )
    predictions = np.stack([predicted for predicted, _ in read])
    for metric, weights in _weights_of_metrics(row, labels):
        for position, predicted, said in zip(row.positions, predictions, row.values(f"test/{metric}"), strict=True):
            given = float((predicted == labels) @ weights)
            unsaid = np.isnan(said) and metric != MICRO.metric  # only accuracy is in every record
            if not unsaid and not abs(given - said) <= ROUNDING:
                raise UserError(
                    f"{row.runs.columns['path'][position] or row.label}: says test {metric.replace('_', ' ')} {said:.6f}, and its predictions give {given:.6f}; "
                    "restore it from a copy, or move it away and run again"
                )
    return predictions


def _weights_of_metrics(row: Row, labels: NDArray[np.integer]) -> list[tuple[str, NDArray[np.float64]]]:
    """Accuracies of a record with what each test image (N,) counts in them: micro, macro, and of the classes of each group."""
    K = len(row.split.class_names)
    whole = [(objective.metric, objective.weights(labels, K)) for objective in (MICRO, MACRO)]
    counts = np.bincount(labels, minlength=K)
    groups = {name: getattr(row.split.groups, name) & (counts > 0) for name in GROUPS}
    return whole + [(name, (classes / np.maximum(counts, 1) / classes.sum())[labels]) for name, classes in groups.items() if classes.any()]


def _to_json(statistics: BoardStatistics) -> dict[str, Any]:
    standings_of_rows = [asdict(standing) for standing in statistics.standings]
    return vars(statistics) | {"standings": standings_of_rows, "pairs": statistics.pairs.to_json()}


def _from_json(data: Mapping[str, Any]) -> BoardStatistics:
    return BoardStatistics(
        intervals=[(low, high) for low, high in data["intervals"]],
        behind=[(low, high) for low, high in data["behind"]],
        groups={name: [(low, high) for low, high in ends] for name, ends in data["groups"].items()},
        **{name: [None if ends is None else (ends[0], ends[1]) for ends in data[name]] for name in ("over_classes", "behind_classes")},
        standings=[Standing(**standing) for standing in data["standings"]],
        resolvable=data["resolvable"],
        pairs=Pairs.from_json(data["pairs"], len(data["intervals"])),
    )
