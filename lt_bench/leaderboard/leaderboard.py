"""Records in, tables out: a pure function of the records."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lt_bench.core.activity import steps
from lt_bench.core.errors import UserError
from lt_bench.core.extras import require_extra
from lt_bench.core.files import require_ours, write_text
from lt_bench.data.priors import check_prior
from lt_bench.leaderboard.boards import BoardRows, boards
from lt_bench.leaderboard.earlier import replace_earlier
from lt_bench.leaderboard.load import Measured, Runs, from_records, load_records
from lt_bench.leaderboard.objective.objective import check_objective
from lt_bench.leaderboard.page.page import page
from lt_bench.leaderboard.stats.across import Across, across
from lt_bench.leaderboard.stats.effects import Effects, effects
from lt_bench.leaderboard.stats.ranking import ranked
from lt_bench.leaderboard.tables.against import published_csv, published_markdown
from lt_bench.leaderboard.tables.cells import usable, with_values
from lt_bench.leaderboard.tables.columns import Column, arranged, leading, registered, with_priors
from lt_bench.leaderboard.tables.latex import NEEDS, latex_table
from lt_bench.leaderboard.tables.selection import Selection
from lt_bench.leaderboard.tables.terminal import board_table, differences_table
from lt_bench.leaderboard.tables.text import across_table, csv_table, effects_table, markdown_table

if TYPE_CHECKING:
    import pandas

TABLES = ("markdown", "csv", "latex", "html", "published")
FORMATS = (*TABLES, "plots")
_INTRO = (
    "# Leaderboard\n\nMade by `lt-bench leaderboard` from the records alone; accuracies in %. "
    "Each table is one split, one feature cache, one protocol: rows of different tables are not comparable.\n"
)
SIGNS = {
    "LEADERBOARD.md": "Made by `lt-bench leaderboard`", "leaderboard.csv": "dataset,split_hash,cache_key,protocol,mode",
    "leaderboard.html": "<title>lt-bench leaderboard</title>", "PUBLISHED.md": "# Measured beside published",
    "published.csv": "dataset,imbalance_factor,backbone,cache_key,protocol,row",
}  # fmt: skip
"""Text at the beginning of each file but the tables of LaTeX, by which an earlier one is known as ours."""


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Runs as rows that may be ranked together: a row for each strategy with its hyper-parameters, on each board.

    Attributes:
        runs: one line for each record.
        columns: of the tables.
        statistics: rank groups, intervals over test images and the smallest resolvable difference, from the test predictions of every run.
        statistics_dir: where statistics are stored between calls; None: nowhere.
        objective: that rows are ranked by, as of `leaderboard.objective.objective.objective_of`.
        selection: which rows and columns tables and figures show, and how; the page and the published numbers have all.
        against: the row that others are compared with over boards, as of `leaderboard.stats.effects.effects`.
    """

    runs: Runs
    columns: tuple[Column, ...]
    statistics: bool = True
    statistics_dir: Path | None = None
    objective: str | None = None
    selection: Selection = field(default_factory=Selection)
    against: str | None = None

    @cached_property
    def effects(self) -> list[Effects]:
        """Differences of all rows to one row over boards that differ in their backbones. Raises as ``stats.effects.effects``."""
        return effects(self.boards, self.against) if self.runs.has_arrays else []

    @property
    def shown_effects(self) -> list[Effects]:
        """The differences with the rows of the selection. Raises as ``effects``."""
        return self.selection.effects(self.effects)

    @property
    def across(self) -> list[Across]:
        """Places of the rows that are on every board."""
        return self.selection.across(across(self.shown))

    @cached_property
    def boards(self) -> list[BoardRows]:
        """The boards with their rows, the best mean of the objective on test first."""
        rankings = boards(self.runs, self.objective)
        return [ranked(ranking, self.statistics_dir) for ranking in steps(rankings, "boards compared")] if self.statistics else rankings

    @cached_property
    def shown(self) -> list[BoardRows]:
        """The boards with the rows of the selection.

        Raises:
            UserError: the selection names a row that is on no board, or a column that does not exist.
        """
        rankings = self.selection.boards(self.boards)
        for ranking in rankings:
            self.selection.columns(ranking, self.columns)
        return rankings

    @property
    def unknown_names(self) -> list[str]:
        """Names of the selection that stand for no row and no column, with what may be meant."""
        columns = [column for ranking in self.boards for column in (*self.columns, *arranged(self.columns, ranking.objective))]
        return self.selection.unknown_names(self.boards, across(self.boards), columns) if self.selection.names else []

    @property
    def markdown(self) -> str:
        """`LEADERBOARD.md`: one section a board, then wins and mean ranks."""
        sections = [markdown_table(ranking, self._main(ranking)) for ranking in self.shown]
        return "\n".join([_INTRO, *sections, *map(across_table, self.across), *map(effects_table, self.shown_effects)])

    @property
    def csv(self) -> str:
        """`leaderboard.csv`: every row of every board, its identity first, intervals over test images as `_low` and `_high`, over seeds as `_seeds_low` and `_seeds_high`."""
        return csv_table(self.shown, self.selection.columns(self.shown[0], self.columns) if self.selection.show else self.columns)

    @property
    def latex(self) -> str:
        """`leaderboard.tex` of one board; of several, their tables one after the other."""
        return self._latex_of(self.shown)

    @property
    def frame(self) -> pandas.DataFrame:
        """`leaderboard.csv` as a data frame."""
        import pandas  # half a second that tables do not need

        return pandas.read_csv(io.StringIO(self.csv))

    def show(self, console: Console) -> None:
        """Print every board."""
        for ranking in self.shown:
            console.print(board_table(ranking, self._main(ranking), console.width))
        for result in self.shown_effects if self.against is not None else ():
            console.print(differences_table(result, console.width))

    def write(self, directory: Path | str, formats: Iterable[str] = TABLES, *, full: bool = False) -> list[Path]:
        """Write files and return their paths; the same records give the same bytes.

        Args:
            directory: gets `LEADERBOARD.md`, `leaderboard.csv`, `leaderboard.tex` (of several boards one after the other, and each in `leaderboard-BOARD.tex`), `leaderboard.html` (plots inside where they are drawn), `PUBLISHED.md` and
                `published.csv` (measured beside published), and `plots/<board>/*.svg|png|pdf`, of several boards also `plots/boards-<protocol>-<mode>/`; tables and plots that an earlier call wrote for boards that are gone are removed.
            formats: which of `FORMATS`; plots, some seconds a board, only where asked for.
            full: LaTeX tables as floats with captions.

        Raises:
            UserError: an unknown format, no format, plots without the extra `plots`, another file where a table would lie, or as of `shown`.
        """
        wanted, out, shown = checked_formats(formats), Path(directory), self.shown
        drawn, over = {}, []
        if "plots" in wanted:
            require_extra("matplotlib", "plots", "--formats plots")
            from lt_bench.leaderboard.plots.draw import draw_across, draw_board  # a second of matplotlib that tables do not need

            drawn = {ranking.board: draw_board(ranking, out / "plots") for ranking in shown}
            over = draw_across(self.across, out / "plots")
        pictures = {board: [(plot.svg, plot.caption) for plot in plots] for board, plots in drawn.items()}
        texts: list[tuple[str, str, Callable[[], str]]] = [
            ("markdown", "LEADERBOARD.md", lambda: self.markdown),
            ("csv", "leaderboard.csv", lambda: self.csv),
            ("latex", "leaderboard.tex", partial(self._latex_of, shown, full=full)),
            *(
                ("latex", f"leaderboard-{ranking.board.slug}.tex", partial(self._latex_of, [ranking], full=full))
                for ranking in (shown if len(shown) > 1 else ())
            ),
            ("html", "leaderboard.html", lambda: page(self.boards, self.columns, pictures, self.effects)),
            ("published", "PUBLISHED.md", lambda: published_markdown(self.boards)),
            ("published", "published.csv", lambda: published_csv(self.boards)),
        ]
        require_ours({out / name: SIGNS.get(name, NEEDS) for kind, name, _ in texts if kind in wanted})
        files = [(kind, write_text(out / name, text())) for kind, name, text in texts if kind in wanted]
        files += [("plots", path) for plots in (*drawn.values(), over) for plot in plots for path in (plot.svg, plot.png, plot.pdf)]
        if of_boards := {kind: [path for of, path in files if of == kind] for kind in ("latex", "plots") if kind in wanted}:
            replace_earlier(out, of_boards)
        return [path for _, path in files]

    def _main(self, ranking: BoardRows) -> tuple[Column, ...]:
        columns = self.selection.columns(ranking, self.columns)
        return columns if self.selection.show else tuple(column for column in usable(ranking, columns) if column.main)

    def _latex_of(self, rankings: Iterable[BoardRows], full: bool = False) -> str:
        own = [column.key for column in self.columns if column.code]
        tables = []
        for ranking in rankings:
            columns = self.selection.columns(ranking, self.columns, (leading(ranking.objective), "many", "medium", "few", *own))
            tables.append(latex_table(ranking, with_values(ranking, columns), full))
        return "\n".join(tables)


def checked_formats(formats: Iterable[str]) -> list[str]:
    """The formats, all known.

    Raises:
        UserError: one is not, or there is none.
    """
    wanted = list(formats)
    if not wanted:
        raise UserError(f"no leaderboard format was named; choose among {', '.join(FORMATS)}")
    if unknown := sorted(set(wanted) - set(FORMATS)):
        raise UserError(f"no such leaderboard format: {', '.join(unknown)}; choose among {', '.join(FORMATS)}")
    return wanted


def leaderboard(
    records: str | Path | Iterable[Measured],
    columns: Iterable[str] = (),
    *,
    statistics: bool = True,
    statistics_dir: Path | None = None,
    objective: str | None = None,
    test_priors: Iterable[str] = (),
    selection: Selection | None = None,
    against: str | None = None,
) -> Leaderboard:
    """The leaderboard of a directory of records, or of records in memory: runs of `lt_bench.fit`, records with their arrays, or records alone (without statistics).

    Args:
        records: the directory or the records.
        columns: dotted names of modules that register columns.
        statistics: as of `Leaderboard`.
        statistics_dir: as of `Leaderboard`.
        objective: as of `leaderboard.objective.objective.objective_of`.
        test_priors: more columns: accuracies at these priors, `forward:50`, `backward:50` (any imbalance) or files.
        selection: which rows and columns are shown, and how, as of `Leaderboard`.
        against: as of `Leaderboard`.

    Raises:
        UserError: no records, a damaged one, two of the same run, an unknown column module, or no objective.
    """
    check_objective(objective)
    priors = list(test_priors)
    for prior in priors:
        check_prior(prior, "--test-priors")
    runs = load_records(records) if isinstance(records, str | Path) else from_records(records)
    shown = selection or Selection()
    return Leaderboard(
        runs, with_priors(registered(columns), priors), statistics and runs.has_arrays, statistics_dir, objective, shown, against
    )
