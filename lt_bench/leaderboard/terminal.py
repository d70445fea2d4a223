"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from lt_bench.leaderboard.boards import BoardRows, Row, boards
from lt_bench.leaderboard.cells import interval_note, notes, table_cells, value_text
from lt_bench.leaderboard.columns import Column, Value, registered
from lt_bench.leaderboard.load import from_records
from lt_bench.results.record import RunRecord

_PLACE_STYLE = {1: "bold green", 2: "underline"}
_RUN_COLUMNS = ("accuracy", "many", "medium", "few", "loma", "rsd", "loma_balance", "loma_balance_train", "gap", "fit_s")


def board_table(found: BoardRows, columns: tuple[Column, ...]) -> Table:
    """One board: a line a row, best value of each column bold, second underlined."""
    table = Table(title=found.title, caption="\n".join(notes(found)), title_justify="left", caption_justify="left", header_style="bold")
    table.add_column("Strategy", overflow="fold", min_width=min(24, max(len(row.label) for row in found.rows)))
    for column in columns:
        table.add_column(column.title, justify="left" if column.style == "text" else "right", no_wrap=column.style != "text")
    for row, line in zip(found.rows, table_cells(found, columns), strict=True):
        table.add_row(row.label, *(Text(cell.text, style=_PLACE_STYLE.get(cell.place or 0, "")) for cell in line))
    return table


def run_table(records: Iterable[RunRecord]) -> Table:
    """The records of one run (any strategies and seeds): a line for each seed, then mean and 95 % interval over the seeds."""
    found = boards(from_records(records))
    columns = [column for column in registered() if column.key in _RUN_COLUMNS]
    rows = [row for board in found for row in board.rows]
    title = found[0].title if len(found) == 1 else None
    table = Table(title=title, caption=interval_note(rows), title_justify="left", caption_justify="left", header_style="bold")
    table.add_column("Strategy", overflow="fold")
    table.add_column("Seed")
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for board in found:
        for row in board.rows:
            label = row.label if len(found) == 1 else f"{row.label} ({board.title})"
            for position, seed in enumerate(row.seeds):
                table.add_row(
                    label if position == 0 else "", str(seed), *(value_text(_at_seed(row, column, position), column) for column in columns)
                )
            if len(row.positions) > 1:
                mean = (value_text(column.value(row), column) for column in columns)
                table.add_row("", "mean", *mean, style="bold")
            table.add_section()
    return table


def _at_seed(row: Row, column: Column, position: int) -> Value:
    """A column's value for one seed of a row."""
    return column.value(Row(row.runs, row.board, row.positions[position : position + 1], row.label))
