"""Joins a board's rows with its statistics, so that columns can show them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lt_bench.leaderboard.boards import BoardRows, Row, RowStatistics
from lt_bench.leaderboard.stats.statistics import board_statistics


def ranked(ranking: BoardRows, directory: Path | None = None) -> BoardRows:
    """The board with statistics in its rows, from the test predictions; `directory` as of `board_statistics`."""
    statistics = board_statistics(ranking, directory)
    values = zip(statistics.standings, statistics.intervals, [None, *statistics.behind[1:]], strict=True)
    rows = [replace(row, statistics=RowStatistics(*of_row), computed={}) for row, of_row in zip(ranking.rows, values, strict=True)]
    return BoardRows(ranking.board, rows, statistics.resolvable)


def statistics_note(ranking: BoardRows) -> str:
    """Note on reading ranks and on the smallest difference this test set resolves; empty for a board without statistics."""
    best = ranking.rows[0]
    if best.statistics is None:
        return ""
    low, high = (100 * end for end in best.statistics.interval)
    notes = [
        f"Rank: possible places{_LETTERED if any(_letters(row) for row in ranking.rows) else ''} (paired over seeds and test images, Holm-corrected over all pairs, 5 %).",
        "Bold accuracy: place 1 is possible by these tests; in other columns bold is the best mean, underlined the second, and nothing is tested.",
        f"Other test images would move accuracies by more than ± says: {best.label} has {low:.2f} to {high:.2f} (95 %, bootstrap over test images).",
        *_one_seed(ranking),
    ]
    if ranking.resolvable is not None:
        notes.append(
            f"Smallest difference this test set resolves for a typical pair (80 % power, one comparison): {100 * ranking.resolvable:.2f} points."
        )
    return " ".join(notes)


_LETTERED = ", then groups: neighbouring rows that share a letter cannot be told apart"


def _letters(row: Row) -> str:
    return "" if row.statistics is None else row.statistics.standing.letters


def _one_seed(ranking: BoardRows) -> list[str]:
    """A sentence about rows with one seed: how they are compared, or that they are not."""
    trained = [row for row in ranking.rows if row.varies is not None]
    once = [row.label for row in trained if len(row.seeds) == 1]
    if not once or len(ranking.rows) < 2:
        return []
    if len(once) == len(trained):
        return [
            "No row that trains has a second seed, so nothing tells how far they move with it and none is told apart: run with --seeds 0,1,2."
        ]
    return [
        f"Rows with one seed ({', '.join(once)}) are compared with the seed spread of the other rows, widened by how much that differs between rows."
    ]
