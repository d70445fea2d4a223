"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lt_bench.core.errors import printable
from lt_bench.leaderboard.boards import BoardRows, Row, boards
from lt_bench.leaderboard.load import Measured, from_records
from lt_bench.leaderboard.stats.effects import Effects
from lt_bench.leaderboard.tables.cells import interval_note, legend, notes, table_cells, value_text
from lt_bench.leaderboard.tables.columns import Column, Value, arranged, column_value, leading, registered

_PLACE_STYLE = {1: "bold green", 2: "underline"}
_NARROW = 130  # characters under which a board shows means without their intervals
_RUN_COLUMNS = ("accuracy", "many", "medium", "few", "loma", "rsd", "loma_balance", "loma_balance_train", "gap", "fit_s")


def board_table(ranking: BoardRows, columns: tuple[Column, ...], width: int | None = None) -> Table:
    """One board: a line a row, best value of each column bold, second underlined; only the first columns that fit into ``width`` characters."""
    cells = table_cells(ranking, columns)
    if width is not None and width < _NARROW:
        cells = [[replace(cell, text=cell.parts[0]) for cell in line] for line in cells]
    labels = [row.label for row in ranking.rows]
    shown = (
        _fitting(
            [labels, *([line[c].text for line in cells] for c in range(len(columns)))], ["Strategy", *(c.title for c in columns)], width
        )
        - 1
    )
    left_out = [column.title for column in columns[shown:]]
    caption = [
        *notes(ranking, columns[:shown]),
        legend(columns[:shown]),
        *(
            [f"Left out for the width of the terminal: {', '.join(left_out)}; LEADERBOARD.md, the page and --json have them."]
            if left_out
            else []
        ),
    ]
    table = _table(ranking.title, "\n".join(caption))
    table.add_column("Strategy", no_wrap=True)
    for column in columns[:shown]:
        table.add_column(column.title, justify="left" if column.style == "text" else "right", no_wrap=True)
    for label, line in zip(labels, cells, strict=True):
        table.add_row(
            Text(printable(label)), *(Text(printable(cell.text), style=_PLACE_STYLE.get(cell.place or 0, "")) for cell in line[:shown])
        )
    return table


def plain_table(title: str, head: list[str], lines: Iterable[list[str]], caption: str) -> Table:
    """A table of texts, the first column names."""
    table = _table(title, caption)
    for position, name in enumerate(head):
        table.add_column(printable(name), justify="right" if position else "left")
    for line in lines:
        table.add_row(*(Text(printable(text)) for text in line))
    return table


def differences_table(result: Effects, width: int) -> Table:
    """Differences to one row over boards; the columns of single boards where they fit the width."""
    head, lines, note = result.head, result.lines, result.note
    needed = sum(max(map(len, column)) + 3 for column in zip(head, *lines, strict=True))
    if needed > width:
        summary = len(head) - len(result.boards)
        head, lines = head[:summary], [line[:summary] for line in lines]
        note += f" Left out for the width of the terminal: {', '.join(result.boards)}; the files have them."
    return plain_table("Differences over boards", head, lines, note)


def run_table(records: Iterable[Measured], width: int | None = None) -> Table:
    """The records of one run (any strategies and seeds): a line for each seed, then mean and 95 % interval; the first columns that fit into ``width``."""
    rankings = boards(from_records(records))
    leads = {leading(board.objective): board.objective for board in rankings}
    columns = arranged([column for column in registered() if column.key in {*_RUN_COLUMNS, *leads}], next(iter(leads.values())))
    lines: list[list[str]] = []
    sections: list[int] = []
    for board in rankings:
        for row in board.rows:
            label = row.label if len(rankings) == 1 else f"{row.label} ({board.title})"
            for position, seed in enumerate(row.seeds):
                values = [value_text(_at_seed(row, column, position), column) for column in columns]
                lines.append([label if position == 0 else "", str(seed), *values])
            if len(row.positions) > 1:
                lines.append(["", "mean", *(value_text(column_value(row, column), column) for column in columns)])
            sections.append(len(lines))
    titles = ["Strategy", "Seed", *(column.title for column in columns)]
    shown = _fitting([list(cells) for cells in zip(*lines, strict=True)], titles, width)
    if shown < len(titles) and len(sections) == 1:
        return _turned(rankings[0], columns, lines, titles)
    rows = [row for board in rankings for row in board.rows]
    table = _table(rankings[0].title if len(rankings) == 1 else None, _notes(rankings, interval_note(rows, columns)))
    for position, title in enumerate(titles[:shown]):
        table.add_column(title, justify="right" if position > 1 else "left", no_wrap=True)
    for number, line in enumerate(lines, 1):
        table.add_row(
            *(Text(printable(text)) for text in line[:shown]), style="bold" if line[1] == "mean" else None, end_section=number in sections
        )
    return table


def _notes(rankings: Iterable[BoardRows], about_intervals: str) -> str:
    """Notes below a table, a line each: images that splits share, and what ± is."""
    return "\n".join(dict.fromkeys(filter(None, [*(board.shared_images for board in rankings), about_intervals])))


def _turned(ranking: BoardRows, columns: tuple[Column, ...], lines: list[list[str]], titles: list[str]) -> Table:
    """One strategy in a narrow terminal: a line for each metric, a column for each seed and the mean."""
    (row,) = ranking.rows
    table = _table(f"{ranking.title}: {row.label}", _notes([ranking], interval_note([row], columns)))
    table.add_column("")
    for line in lines:
        table.add_column(line[1] if line[1] == "mean" else f"seed {line[1]}", justify="right")
    for position, name in enumerate(titles[2:], 2):
        table.add_row(name, *(Text(printable(line[position])) for line in lines))
    return table


def _table(title: str | None, caption: str | None) -> Table:
    title, caption = (
        text and escape("\n".join(map(printable, text.split("\n")))) for text in (title, caption)
    )  # brackets of labels and names are no markup
    return Table(
        title=title, caption=caption, title_justify="left", caption_justify="left", header_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )


def _fitting(cells: list[list[str]], titles: list[str], width: int | None) -> int:
    """Number of leading columns, given their cells, that fit into the width; at least three."""
    total, count = 0, 0
    for title, column in zip(titles, cells, strict=True):
        total += 3 + max(cell_len(text) for text in (title, *column))
        if width is not None and total > width and count >= 3:
            break
        count += 1
    return count


def _at_seed(row: Row, column: Column, position: int) -> Value:
    """A column's value for one seed of a row."""
    return column_value(replace(row, positions=row.positions[position : position + 1], computed={}), column)
