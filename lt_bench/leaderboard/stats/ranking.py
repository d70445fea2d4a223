"""Joins a board's rows with its statistics, so that columns can show them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lt_bench.core.names import counted
from lt_bench.leaderboard.boards import BoardRows, Row, RowStatistics
from lt_bench.leaderboard.intervals import ends_text, objective_text
from lt_bench.leaderboard.stats.statistics import board_statistics


def ranked(ranking: BoardRows, directory: Path | None = None) -> BoardRows:
    """The board with statistics in its rows, from the test predictions; `directory` as of `board_statistics`."""
    statistics = board_statistics(ranking, directory)
    standings = [*statistics.standings, *[None] * (len(ranking.rows) - ranking.ranked)]
    groups = [{name: ends[row] for name, ends in statistics.groups.items()} for row in range(len(ranking.rows))]
    values = zip(
        standings,
        statistics.intervals,
        [None, *statistics.behind[1:]],
        groups,
        statistics.over_classes,
        [None, *statistics.behind_classes[1:]],
        strict=True,
    )
    rows = [
        replace(row, statistics=RowStatistics(*of_row, sample=ranking.test_groups), computed={})
        for row, of_row in zip(ranking.rows, values, strict=True)
    ]
    return replace(ranking, rows=rows, resolvable=statistics.resolvable, pairs=statistics.pairs)


def statistics_note(ranking: BoardRows, *, places: bool = True, figure: bool = True) -> str:
    """Note on reading ranks and on the smallest difference that this test set resolves; empty for a board without statistics. `places` and `figure` say whether the table shows ranks and the objective."""
    best = ranking.rows[0]
    if best.statistics is None:
        return ""
    objective, notes = best.objective, []
    if places:
        lettered = LETTERED if any(_letters(row) for row in ranking.rows) else ""
        notes.append(
            f"Rank: possible places{lettered} (paired over {ranking.over}, each row with its variance over seeds, Holm-corrected over all pairs, 5 %)."
        )
    if figure:
        notes.append(
            f"Bold {objective.title}: place 1 is possible by these tests, underlined: place 1 among the others; in other columns bold is the best mean, underlined the second, and nothing is tested."
        )
        notes.append(_of_best(ranking, best.statistics))
    else:
        notes.append("Bold is the best mean of a column, underlined the second, and nothing is tested.")
    if places or figure:
        notes += _one_seed(ranking)
    if ranking.ranked < len(ranking.rows):
        notes.append("Controls stand below the others, without places: what they reach is no method's merit.")
    if ranking.resolvable is not None and (places or figure):
        notes.append(
            f"Smallest difference this test set resolves for a typical pair (80 % power, one comparison): {objective_text(ranking.resolvable, objective, 'points')}."
        )
    return " ".join(notes)


def _of_best(ranking: BoardRows, statistics: RowStatistics) -> str:
    """The interval of the first row, of its objective and of its few-shot classes."""
    best = ranking.rows[0]
    few = f", its few-shot classes {ends_text(statistics.groups['few'])} ({_few_images(ranking)})" if "few" in statistics.groups else ""
    seeds_alone = "Other test images would move figures by more than ± says: " if ranking.interval == "seeds" else ""
    within = " within classes" if best.objective.within_classes else ""
    return f"{seeds_alone}{best.label} has {ends_text(statistics.interval, best.objective)} (95 %, over {ranking.over}{within}){few}."


def _few_images(ranking: BoardRows) -> str:
    """`14 test images in 4 classes`, of the few-shot classes."""
    few = np.zeros(0, np.int64) if ranking.test_counts is None else ranking.test_counts[ranking.rows[0].split.groups.few]
    return f"{counted(int(few.sum()), 'test image')} in {counted(int((few > 0).sum()), 'class', 'classes')}"


LETTERED = ", then groups: neighbouring rows that share a letter cannot be told apart"


def _letters(row: Row) -> str:
    return "" if row.statistics is None or row.statistics.standing is None else row.statistics.standing.letters


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
