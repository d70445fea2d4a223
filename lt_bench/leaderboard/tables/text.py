"""Markdown and CSV tables, byte-stable from the same records."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from lt_bench.core.errors import printable
from lt_bench.core.names import spreadsheet_text
from lt_bench.core.provenance import combined
from lt_bench.leaderboard.boards import BOARD_FIELDS, BoardRows
from lt_bench.leaderboard.stats.across import Across
from lt_bench.leaderboard.stats.effects import Effects
from lt_bench.leaderboard.tables.cells import flat_cells, legend, notes, scale, table_cells
from lt_bench.leaderboard.tables.columns import PUBLISHED, Column, published_citation

_SPECIAL = str.maketrans({"\\": "\\\\", "|": "\\|", "*": "\\*", "<": "&lt;", ">": "&gt;"})
_MARK = {1: "**{}**", 2: "<u>{}</u>"}


def markdown_table(ranking: BoardRows, columns: tuple[Column, ...]) -> str:
    """One board as a Markdown section: heading, identity, table, what ± means."""
    head = ["Strategy", *(column.title for column in columns)]
    align = [":--", *(":--" if column.style == "text" else "--:" for column in columns)]
    lines = [
        [escape(row.label), *(_MARK.get(cell.place or 0, "{}").format(escape(cell.text)) for cell in cells)]
        for row, cells in zip(ranking.rows, table_cells(ranking, columns), strict=True)
    ]
    name = escape(str(ranking.rows[0].text("cache_name")))
    identity = f"Split `{ranking.board.split_hash[:16]}`, cache {name} `{ranking.board.cache_key[:16]}`."
    sources = published_sources(ranking) if any(column.key in PUBLISHED for column in columns) else ""
    parts = [
        f"## {escape(ranking.title)}",
        identity,
        markdown_lines(head, align, lines),
        "\n".join(f"- {note}" for note in (*map(escape, notes(ranking, columns)), legend(columns)) if note),
        *([sources] if sources else []),
    ]
    return "\n\n".join(parts) + "\n"


def published_sources(ranking: BoardRows) -> str:
    """Citations of the published numbers in a board's table, one Markdown list item each."""
    cited = [(row.label, published_citation(row)) for row in ranking.rows]
    items = dict.fromkeys(f"- {escape(label.partition(' ')[0])}: {escape(text)}" for label, text in cited if text is not None)
    return "Published (not our measurements; † read on an index page):\n\n" + "\n".join(items) if items else ""


def across_table(result: Across) -> str:
    """Wins and mean rank of one protocol and mode as a Markdown section, with the missing cells by name; without a table where no rows are compared."""
    lines = [[escape(text) for text in line] for line in result.lines]
    table = [markdown_lines(result.head, [":--", *["--:"] * (len(result.head) - 1)], lines)] if lines else []
    missing = ["Left out:", "\n".join(f"- {escape(line)}" for line in result.missing)] if result.missing else []
    return "\n\n".join(["## Across boards", escape(result.note), *table, *missing]) + "\n"


def effects_table(result: Effects) -> str:
    """Differences to one row over boards as a Markdown section."""
    lines = ([escape(text) for text in line] for line in result.lines)
    table = markdown_lines([escape(text) for text in result.head], [":--", *["--:"] * (len(result.head) - 1)], lines)
    return f"## Differences over boards\n\n{escape(result.note)}\n\n{table}\n"


def markdown_lines(head: list[str], align: list[str], lines: Iterable[list[str]]) -> str:
    """The lines of a Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, align, *lines))


def escape(text: str) -> str:
    """Text as Markdown shows it: it ends no cell and no line, and is no element, emphasis or link; a pair of backticks stays."""
    plain = printable(text).translate(_SPECIAL).replace("](", "]\\(")
    return plain.replace("`", "\\`") if plain.count("`") % 2 else plain


def csv_table(rankings: list[BoardRows], columns: tuple[Column, ...]) -> str:
    """All boards in one CSV, told apart by their identity columns; numbers unrounded (9 digits), ends of intervals over test images in `_low` and `_high`, over seeds in `_seeds_low` and `_seeds_high`.

    Where columns are the user's own, `columns_code` has the fingerprint of all their programs; where splits of a cache share images, `shared_images` says it.
    """
    own = {f"{column.key} {name}": one for column in columns for name, one in column.code.items()}
    columns = tuple(column for column in columns if column.key not in BOARD_FIELDS)
    rows = [row for ranking in rankings for row in ranking.rows]
    names, lines = flat_cells(rows, columns, lambda value, column: "" if value != value else f"{value * scale(column):.9g}")
    shared = [images for ranking in rankings for images in [ranking.shared_images] * len(ranking.rows)]
    for row, line, share in zip(rows, lines, shared, strict=True):
        identity = [getattr(row.board, name) for name in BOARD_FIELDS]
        line[:0] = [
            *identity,
            row.objective.text,
            row.text("backbone"),
            f"{row.values('imbalance_factor')[0]:g}",
            row.label,
            row.text("strategy"),
            row.text("code"),
            len(row.positions),
            *([combined(own)] if own else []),
            *([share] if any(shared) else []),
        ]
    head = [
        *BOARD_FIELDS,
        "objective",
        "backbone",
        "imbalance_factor",
        "row",
        "strategy",
        "code",
        "n",
        *(["columns_code"] if own else []),
        *(["shared_images"] if any(shared) else []),
        *names,
    ]
    return csv_text([head, *lines])


def csv_text(lines: Iterable[Iterable[Any]]) -> str:
    """Lines of cells as CSV, in which no text is a formula."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [spreadsheet_text(cell) if isinstance(cell, str) else cell for cell in line] for line in lines
    )
    return out.getvalue()
