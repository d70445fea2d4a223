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


def statistics_note(ranking: BoardRows) -> str:
    """Note on reading ranks and on the smallest difference this test set resolves; empty for a board without statistics."""
    best = ranking.rows[0]
    if best.statistics is None:
        return ""
    objective = best.objective
    few = (
        f", its few-shot classes {ends_text(best.statistics.groups['few'])} ({_few_images(ranking)})"
        if "few" in best.statistics.groups
        else ""
    )
    seeds_alone = "Other test images would move figures by more than ± says: " if ranking.interval == "seeds" else ""
    notes = [
        f"Rank: possible places{LETTERED if any(_letters(row) for row in ranking.rows) else ''} (paired over {ranking.over}, each row with its variance over seeds, Holm-corrected over all pairs, 5 %).",
        f"Bold {objective.title}: place 1 is possible by these tests, underlined: place 1 among the others; in other columns bold is the best mean, underlined the second, and nothing is tested.",
        f"{seeds_alone}{best.label} has {ends_text(best.statistics.interval, objective)} (95 %, over {ranking.over}"
        f"{' within classes' if objective.within_classes else ''}){few}.",
        *_one_seed(ranking),
        *(
            ["Controls stand below the others, without places: what they reach is no method's merit."]
            if ranking.ranked < len(ranking.rows)
            else []
        ),
    ]
    if ranking.resolvable is not None:
        notes.append(
            f"Smallest difference this test set resolves for a typical pair (80 % power, one comparison): {objective_text(ranking.resolvable, objective, 'points')}."
        )
    return " ".join(notes)


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
