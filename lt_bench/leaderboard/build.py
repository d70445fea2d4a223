"""`lt-bench leaderboard`: records in, tables out. A pure function of the record files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from lt_bench.leaderboard.boards import BoardRows, boards
from lt_bench.leaderboard.cells import usable
from lt_bench.leaderboard.columns import Column, registered
from lt_bench.leaderboard.load import load_records
from lt_bench.leaderboard.terminal import board_table
from lt_bench.leaderboard.text import csv_table, markdown_table
from lt_bench.results.files import write_text

FORMATS = ("markdown", "csv")


def build_leaderboard(
    results_dir: Path | str, out_dir: Path | str, formats: Iterable[str] = FORMATS, column_modules: Iterable[str] = ()
) -> list[Path]:
    """Write the leaderboard of a directory of records; the same records give the same bytes.

    Args:
        results_dir: where `lt-bench run` put its records.
        out_dir: gets `LEADERBOARD.md` and `leaderboard.csv`.
        formats: which of `FORMATS`.
        column_modules: dotted names of modules that register columns.

    Returns:
        The files written.

    Raises:
        UserError: no records, a damaged record, an unknown column module.
    """
    found = boards(load_records(results_dir))
    columns = registered(column_modules)
    out = Path(out_dir)
    texts = {
        "markdown": ("LEADERBOARD.md", lambda: markdown(found, columns)),
        "csv": ("leaderboard.csv", lambda: csv_table(found, columns)),
    }
    return [write_text(out / name, text()) for kind, (name, text) in texts.items() if kind in set(formats)]


def markdown(found: list[BoardRows], columns: tuple[Column, ...]) -> str:
    """`LEADERBOARD.md`: one section a board."""
    main = tuple(column for column in columns if column.main)
    intro = "# Leaderboard\n\nMade by `lt-bench leaderboard` from the records alone; accuracies in %. Each table is one split, one feature cache, one protocol: rows of different tables are not comparable.\n"
    return "\n".join([intro, *(markdown_table(board, usable(board, main)) for board in found)])


def print_tables(results_dir: Path | str, console: Console | None = None, column_modules: Iterable[str] = ()) -> None:
    """Show every board of a directory of records in the terminal."""
    main = tuple(column for column in registered(column_modules) if column.main)
    screen = console or Console()
    for board in boards(load_records(results_dir)):
        screen.print(board_table(board, usable(board, main)))
