"""Markdown and CSV tables, byte-stable from the same records."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from lt_bench.leaderboard.boards import BOARD_FIELDS, BoardRows
from lt_bench.leaderboard.intervals import Estimate
from lt_bench.leaderboard.stats.across import ACROSS, Across
from lt_bench.leaderboard.tables.cells import legend, notes, number, scale, table_cells
from lt_bench.leaderboard.tables.columns import Column, published_citation

_MARK = {1: "**{}**", 2: "<u>{}</u>"}


def markdown_table(ranking: BoardRows, columns: tuple[Column, ...]) -> str:
    """One board as a Markdown section: heading, identity, table, what ± means."""
    head = ["Strategy", *(column.title for column in columns)]
    align = [":--", *(":--" if column.style == "text" else "--:" for column in columns)]
    lines = [
        [row.label, *(_MARK.get(cell.place or 0, "{}").format(escape(cell.text)) for cell in cells)]
        for row, cells in zip(ranking.rows, table_cells(ranking, columns), strict=True)
    ]
    identity = f"Split `{ranking.board.split_hash[:16]}`, cache `{ranking.board.cache_key[:16]}`."
    sources = published_sources(ranking)
    parts = [
        f"## {ranking.title}",
        identity,
        markdown_lines(head, align, lines),
        "\n".join(f"- {note}" for note in (*notes(ranking), legend(columns)) if note),
        *([sources] if sources else []),
    ]
    return "\n\n".join(parts) + "\n"


def published_sources(ranking: BoardRows) -> str:
    """Where the published numbers of a board's table stand, one Markdown list item each."""
    cited = [(row.label, published_citation(row)) for row in ranking.rows]
    items = dict.fromkeys(f"- {label.partition(' ')[0]}: {escape(text)}" for label, text in cited if text is not None)
    return "Published (not our measurements; † read on an index page):\n\n" + "\n".join(items) if items else ""


def across_table(result: Across) -> str:
    """Wins and mean rank of one protocol and mode as a Markdown section, with the missing cells by name."""
    table = markdown_lines(result.head, [":--", *["--:"] * (len(result.head) - 1)], result.lines)
    missing = "\n".join(f"- {line}" for line in result.missing)
    return f"## Across boards\n\n{ACROSS}\n\n{table}\n" + (f"\nLeft out:\n\n{missing}\n" if missing else "")


def markdown_lines(head: list[str], align: list[str], lines: Iterable[list[str]]) -> str:
    """The lines of a Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, align, *lines))


def escape(text: str) -> str:
    """Text that does not end a cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def csv_table(rankings: list[BoardRows], columns: tuple[Column, ...]) -> str:
    """All boards in one CSV, told apart by their identity columns; numbers unrounded (9 digits), with `_low` and `_high` where a column has intervals."""
    columns = tuple(column for column in columns if column.key not in BOARD_FIELDS)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    cells = [table_cells(board, columns) for board in rankings]
    with_ends = {index for table in cells for line in table for index, cell in enumerate(line) if isinstance(cell.value, Estimate)}
    head = [*BOARD_FIELDS, "backbone", "imbalance_factor", "row", "strategy", "n"]
    for index, column in enumerate(columns):
        head += [column.key, f"{column.key}_low", f"{column.key}_high"] if index in with_ends else [column.key]
    writer.writerow(head)
    for board, table in zip(rankings, cells, strict=True):
        for row, line in zip(board.rows, table, strict=True):
            out_line = [getattr(board.board, name) for name in BOARD_FIELDS]
            out_line += [
                row.text("backbone"),
                f"{row.values('imbalance_factor')[0]:g}",
                row.label,
                row.text("strategy"),
                len(row.positions),
            ]
            for index, (cell, column) in enumerate(zip(line, columns, strict=True)):
                factor = scale(column)
                if isinstance(cell.value, str):
                    out_line.append(cell.value)
                else:
                    out_line.append(_number(number(cell.value) * factor))
                if index in with_ends:
                    ends = (cell.value.low, cell.value.high) if isinstance(cell.value, Estimate) else (None, None)
                    out_line += ["" if end is None else _number(end * factor) for end in ends]
            writer.writerow(out_line)
    return out.getvalue()


def _number(value: float) -> str:
    return "" if value != value else f"{value:.9g}"
