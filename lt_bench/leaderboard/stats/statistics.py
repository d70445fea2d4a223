"""All statistics of one board from the stored predictions, kept in a cache keyed by the records' content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError
from lt_bench.core.provenance import digest
from lt_bench.features.locate import home
from lt_bench.leaderboard.boards import BoardRows, Row, Standing
from lt_bench.leaderboard.stats.bootstrap import RESAMPLES, percentiles, resample
from lt_bench.leaderboard.stats.groups import holm, standings
from lt_bench.leaderboard.stats.kept import kept_or_computed
from lt_bench.leaderboard.stats.paired import LEVEL, POWER_FACTOR, compare_all
from lt_bench.leaderboard.stats.seed_noise import pooled_noise, seed_noise

ROUNDING = 1e-6
"""Largest difference of a recorded accuracy from that of the predictions: metrics are computed in float32."""


@dataclass(frozen=True)
class BoardStatistics:
    """Statistics of a board's R rows, in the order of the board.

    `intervals[r]`: 95 % interval of row r's accuracy over test images. `behind[r]`: interval of row r minus the best row. `resolvable`: the smallest difference found with 80 % power at the 5 % level by the median pair (before Holm), None where no pair can be tested. Fractions throughout.
    """

    intervals: list[tuple[float, float]]
    behind: list[tuple[float, float]]
    standings: list[Standing]
    resolvable: float | None


def cache_directory() -> Path:
    """Directory of kept statistics: `statistics` in the suite's home directory (`$LT_BENCH_HOME`)."""
    return home() / "statistics"


def board_statistics(ranking: BoardRows, directory: Path | None = None, resamples: int = RESAMPLES) -> BoardStatistics:
    """Statistics of a board, from those kept in `directory` (None: nowhere) where the same program saw the same records with the same predictions before.

    Raises:
        UserError: a side file is missing, a record's accuracy is not that of its predictions, or two rows were not evaluated on the same images.
    """
    if directory is None:
        return compute(ranking, resamples)
    path = directory / f"{ranking.fingerprint}-{_program()}-{resamples}.json"
    return kept_or_computed(path, lambda: compute(ranking, resamples), asdict, _from_json)


@cache
def _program() -> str:
    """Fingerprint of the files that compute statistics, so that those of another program are never shown."""
    here = Path(__file__).parent
    return digest(b"\n".join(path.read_bytes() for path in (*sorted(here.glob("*.py")), here.parent / "ties.py")))


def compute(ranking: BoardRows, resamples: int = RESAMPLES) -> BoardStatistics:
    """Statistics of a board, computed without a cache."""
    labels = ranking.rows[0].runs.array(ranking.rows[0].positions[0], "test_labels")
    outcomes = [outcome(row, labels) for row in ranking.rows]
    correct = np.stack([values.mean(0, dtype=np.float64) for values in outcomes])
    drawn = resample(correct, resamples)
    seeds = [row.varied_seeds for row in ranking.rows]
    noises = [seed_noise(values) for values, has in zip(outcomes, seeds, strict=True) if has is not None]
    expected = pooled_noise([noise for noise in noises if noise is not None])
    tests = compare_all(outcomes, seeds, expected)
    pairs = np.triu_indices(len(correct), 1)
    different = np.zeros(tests.p.shape, bool)
    different[pairs] = holm(tests.p[pairs]) < LEVEL
    better = (different | different.T) & (tests.difference > 0)
    errors = tests.error[pairs]
    resolvable = POWER_FACTOR * float(np.median(errors[np.isfinite(errors)])) if np.isfinite(errors).any() else None
    return BoardStatistics(percentiles(drawn), percentiles(drawn - drawn[:, :1]), standings(better), resolvable)


def outcome(row: Row, labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(S, N) whether each seed's stored prediction is right.

    Raises:
        UserError: a run has other test labels than the board, or says another accuracy than its predictions give.
    """
    read = [row.runs.read(int(position), "test_predictions", "test_labels") for position in row.positions]
    for position, (_, own) in zip(row.positions, read, strict=True):
        if not np.array_equal(own, labels):
            path = row.runs.columns["path"][position]
            raise UserError(
                f"{path}: its test labels are not those of the other runs on {row.board.dataset}; move the record away and run again"
            )
    right = np.stack([predictions == labels for predictions, _ in read])
    for position, given, said in zip(row.positions, right.mean(1), row.values("test/accuracy"), strict=True):
        if not abs(given - said) <= ROUNDING:
            raise UserError(
                f"{row.runs.columns['path'][position] or row.label}: says test accuracy {said:.6f}, and its predictions give {given:.6f}; "
                "restore it from a copy, or move it away and run again"
            )
    return right


def _from_json(data: Mapping[str, Any]) -> BoardStatistics:
    return BoardStatistics(
        intervals=[(low, high) for low, high in data["intervals"]],
        behind=[(low, high) for low, high in data["behind"]],
        standings=[Standing(**standing) for standing in data["standings"]],
        resolvable=data["resolvable"],
    )
