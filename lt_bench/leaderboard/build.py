"""`lt-bench leaderboard`: records in, tables out. A pure function of the record files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lt_bench.core.console import page_console
from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.leaderboard.boards import Board, BoardRows, boards
from lt_bench.leaderboard.load import load_records
from lt_bench.leaderboard.page.page import page
from lt_bench.leaderboard.stats.across import across
from lt_bench.leaderboard.stats.ranking import ranked
from lt_bench.leaderboard.tables.against import published_csv, published_markdown
from lt_bench.leaderboard.tables.cells import usable
from lt_bench.leaderboard.tables.columns import Column, registered
from lt_bench.leaderboard.tables.latex import latex_table
from lt_bench.leaderboard.tables.terminal import board_table
from lt_bench.leaderboard.tables.text import across_table, csv_table, markdown_table

if TYPE_CHECKING:
    from lt_bench.leaderboard.plots.draw import Drawn

TABLES = ("markdown", "csv", "latex", "html", "published")
FORMATS = (*TABLES, "plots")


def build_leaderboard(
    results_dir: Path | str,
    out_dir: Path | str,
    formats: Iterable[str] = TABLES,
    column_modules: Iterable[str] = (),
    statistics: bool = True,
    statistics_dir: Path | None = None,
    console: Console | None = None,
) -> list[Path]:
    """Write the leaderboard of a directory of records; the same records give the same bytes.

    Args:
        results_dir: where `lt-bench run` put its records.
        out_dir: gets `LEADERBOARD.md`, `leaderboard.csv`, `leaderboard.tex`, `leaderboard.html` (plots inside where they are drawn), `PUBLISHED.md` and `published.csv`
            (measured beside published), and `plots/<board>/*.svg|png`.
        formats: which of `FORMATS`; plots, some seconds a board, only where asked for.
        column_modules: dotted names of modules that register columns.
        statistics: rank groups, intervals over test images and the smallest resolvable difference, from the stored predictions.
        statistics_dir: where statistics are kept between calls; by default in the suite's home directory.
        console: also print the tables there, from the same reading of the records.

    Returns:
        The files written.

    Raises:
        UserError: no records, a damaged record, an unknown format or column module.
    """
    wanted = list(formats)
    if not wanted:
        raise UserError(f"no leaderboard format was named; choose among {', '.join(FORMATS)}")
    if unknown := sorted(set(wanted) - set(FORMATS)):
        raise UserError(f"no such leaderboard format: {', '.join(unknown)}; choose among {', '.join(FORMATS)}")
    rankings = load_boards(results_dir, statistics, statistics_dir)
    columns = registered(column_modules)
    if console is not None:
        _print(rankings, columns, console)
    texts: dict[str, tuple[str, Callable[[], str]]] = {
        "markdown": ("LEADERBOARD.md", lambda: markdown(rankings, columns)),
        "csv": ("leaderboard.csv", lambda: csv_table(rankings, columns)),
        "latex": ("leaderboard.tex", lambda: "\n".join(latex_table(board, _main(board, columns)) for board in rankings)),
        "html": ("leaderboard.html", lambda: page(rankings, columns, shown)),
    }
    drawn = _draw(rankings, Path(out_dir) / "plots") if "plots" in wanted else {}
    shown = {board: [(plot.svg, plot.caption) for plot in plots] for board, plots in drawn.items()}
    files = [write_text(Path(out_dir) / name, text()) for kind, (name, text) in texts.items() if kind in wanted]
    if "published" in wanted:
        files += [
            write_text(Path(out_dir) / "PUBLISHED.md", published_markdown(rankings)),
            write_text(Path(out_dir) / "published.csv", published_csv(rankings)),
        ]
    return files + [path for plots in drawn.values() for plot in plots for path in (plot.svg, plot.png)]


def _draw(rankings: list[BoardRows], directory: Path) -> dict[Board, list[Drawn]]:
    from lt_bench.leaderboard.plots.draw import draw_board  # a second of matplotlib that tables do not need

    return {board.board: draw_board(board, directory) for board in rankings}


def load_boards(results_dir: Path | str, statistics: bool = True, statistics_dir: Path | None = None) -> list[BoardRows]:
    """Every board of a directory of records, with statistics or without."""
    rankings = boards(load_records(results_dir))
    return [ranked(board, statistics_dir) for board in rankings] if statistics else rankings


def markdown(rankings: list[BoardRows], columns: tuple[Column, ...]) -> str:
    """`LEADERBOARD.md`: one section a board, then wins and mean ranks."""
    intro = (
        "# Leaderboard\n\nMade by `lt-bench leaderboard` from the records alone; accuracies in %. "
        "Each table is one split, one feature cache, one protocol: rows of different tables are not comparable.\n"
    )
    sections = [markdown_table(board, _main(board, columns)) for board in rankings]
    return "\n".join([intro, *sections, *(across_table(result) for result in across(rankings))])


def print_tables(
    results_dir: Path | str,
    console: Console | None = None,
    column_modules: Iterable[str] = (),
    statistics: bool = True,
    statistics_dir: Path | None = None,
) -> None:
    """Show every board of a directory of records in the terminal."""
    columns = registered(column_modules)
    _print(load_boards(results_dir, statistics, statistics_dir), columns, console or page_console())


def _print(rankings: list[BoardRows], columns: tuple[Column, ...], console: Console) -> None:
    for board in rankings:
        console.print(board_table(board, _main(board, columns), console.width))


def _main(ranking: BoardRows, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return usable(ranking, tuple(column for column in columns if column.main))
