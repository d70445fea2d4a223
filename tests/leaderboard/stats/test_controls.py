"""Controls are shown on a board, outside its ranks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.stats.across import across
from lt_bench.leaderboard.tables.cells import table_cells
from lt_bench.leaderboard.tables.selection import Selection


@pytest.fixture
def methods(builder):
    return [builder.make(name, seed, skill) for name, skill in (("los", 1.2), ("ce", 0.0), ("crt", 0.9)) for seed in (0, 1, 2)]


@pytest.fixture
def control(builder):
    """Better than every method, and trained on other images."""
    return builder.make("val_probe", 0, 3.0, trains="nothing", family="control")


def test_a_control_has_no_place_and_takes_none(methods, control):
    ranked, without = (leaderboard(records).boards[0] for records in ([*methods, control], methods))
    assert [row.label for row in ranked.rows] == ["los", "crt", "ce", "val_probe (control)"]
    assert ranked.ranked == 3
    standings = [row.statistics.standing for row in ranked.rows if row.statistics]
    assert standings == [*(row.statistics.standing for row in without.rows if row.statistics), None]
    assert ranked.resolvable == pytest.approx(without.resolvable)
    assert ranked.pairs is not None
    assert ranked.pairs.different[0, 3]  # differences to it are known all the same
    for selection in (Selection(), Selection(rows=("ce", "val_probe")), Selection(rows=("val_probe",))):
        shown = leaderboard([*methods, control], selection=selection)
        assert shown.shown[0].rows[-1].statistics.standing is None  # pyright: ignore[reportOptionalMemberAccess]
        line = next(line for line in shown.markdown.splitlines() if line.startswith("| val_probe"))
        if len(shown.shown[0].rows) > 1:  # else there is no column of ranks
            assert line.split("|")[2].strip() == "–"  # noqa: RUF001
        assert "**" not in line
        assert "<u>" not in line


def test_marks_of_the_best_are_of_methods(methods, control):
    board = leaderboard([*methods, control])
    columns = tuple(column for column in board.columns if column.better)
    cells = table_cells(board.boards[0], columns)
    assert all(cell.place is None for cell in cells[3])
    assert cells[0][[column.key for column in columns].index("accuracy")].place == 1
    assert "Controls stand below the others" in board.markdown
    assert '"standing": null' in _page(board) or '"standing":null' in _page(board)


def test_controls_are_in_no_comparison_of_boards(methods, control, builder):
    other = replace(builder, cache_key="cache-b")
    more = [other.make(name, seed, 1.0) for name in ("los", "ce", "crt") for seed in (0, 1, 2)]
    more.append(other.make("val_probe", 0, 3.0, trains="nothing", family="control"))
    (result,) = across(boards(from_records([*methods, control, *more])))
    assert set(result.labels) == {"los", "ce", "crt"}


def test_a_board_of_controls_alone_has_no_ranks(control):
    (board,) = leaderboard([control]).boards
    assert board.ranked == 0
    assert board.rows[0].statistics is not None
    assert board.rows[0].statistics.standing is None


def _page(board):
    from lt_bench.leaderboard.page.page import page

    return page(board.boards, board.columns, {})
