"""A W&B workspace and a report for every board, built with wandb-workspaces (the extra `dashboard`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_bench.core.errors import UserError
from lt_bench.core.extras import require_extra
from lt_bench.leaderboard.boards import BoardRows
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.stats.statistics import cache_directory
from lt_bench.leaderboard.tables.cells import usable
from lt_bench.leaderboard.tables.columns import registered
from lt_bench.leaderboard.tables.text import markdown_table

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import BarPlot, LinePlot, ScatterPlot
    from wandb_workspaces.reports.v2.interface import Report
    from wandb_workspaces.workspaces import And, Workspace

ROW = "row_of_board"
"""Field of a run's configuration that holds its row of the leaderboard: within a board, means over it are over seeds alone."""
KINDS = ("official", "inferred", "author-tuned", "tuned", "user")
"""Tags that the runs of records have, and those of boards and exports have not."""
FIGURES = ("critical_difference", "accuracy_by_size", "logits_by_size", "head_against_tail")
"""Plots of the board's run that a report shows."""
_GROUPS = ("many", "medium", "few")
_LOGITS = ("loma_column_mean", "loma_column_balance", "rsd_column_mean", "calibration_error")


def dashboard(results: Path | str, entity: str, project: str) -> list[str]:
    """Save a workspace and a report for every board of the records to W&B and return their addresses.

    Raises:
        UserError: no records, wandb-workspaces is not installed, or W&B refuses: no account, no network, no such entity.
    """
    _require()
    import wandb

    boards, addresses = leaderboard(results, statistics_dir=cache_directory()).boards, []
    for ranking in boards:
        try:
            for view in (workspace(entity, project, ranking), report(entity, project, ranking)):
                view.save()
                addresses.append(str(view.url))
        except (wandb.Error, OSError, ValueError) as error:
            said = " ".join(str(error).split())
            raise UserError(f"W&B did not take the dashboard of {entity}/{project}: {said}; `wandb login`, then again") from error
    return addresses


def workspace(entity: str, project: str, ranking: BoardRows) -> Workspace:
    """The workspace of a board, not yet saved: accuracy by group, logits, fit; runs of its records only, grouped by rows, the best first."""
    _require()
    from wandb_workspaces import workspaces as ws

    return ws.Workspace(
        entity=entity,
        project=project,
        name=ranking.title,
        sections=[
            ws.Section(name="Accuracy", panels=[*_accuracies(ranking)], is_open=True),
            ws.Section(name="Logits", panels=[*(_bars(name, ranking) for name in _LOGITS), *_scatters(ranking)], is_open=True),
            ws.Section(name="Fit", panels=[_loss()], is_open=False),
        ],
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Config(ROW)],
            filters=_runs_of(ranking, KINDS),
            order=[ws.Ordering(ws.Summary(f"test/{_lead(ranking)}"), ascending=False)],
        ),
    )


def report(entity: str, project: str, ranking: BoardRows) -> Report:
    """The report of a board, not yet saved: its table with intervals as of now, then bars, curves and figures that follow the runs."""
    _require()
    from wandb_workspaces.reports import v2 as wr
    from wandb_workspaces.reports.v2.interface import OrderBy, Report, Runset

    def grid(panels: list[Any], tags: tuple[str, ...] = KINDS) -> wr.PanelGrid:
        order = [OrderBy(name=wr.SummaryMetric(f"test/{_lead(ranking)}"), ascending=False)]
        groups = [f"config.{ROW}"] * (tags == KINDS)
        runs = Runset(
            entity=entity, project=project, name="rows of the board", groupby=groups, filters=_runs_of(ranking, tags), order=order
        )
        return wr.PanelGrid(runsets=[runs], panels=panels)

    shown = tuple(column for column in usable(ranking, registered()) if column.main)
    return Report(
        entity=entity,
        project=project,
        title=f"Strategies compared: {ranking.title}",
        description="Rebuilt from lt-bench records. A bar is a row of the leaderboard, the mean of its seeds.",
        blocks=[
            wr.MarkdownBlock(markdown_table(ranking, shown)),
            wr.H2("Accuracy"),
            grid(_accuracies(ranking)),
            wr.H2("Logit magnitude"),
            wr.P("LoMa and RSD in the column reading on test. An association between strategies is not a cause."),
            grid([*(_bars(name, ranking) for name in _LOGITS), *_scatters(ranking)]),
            wr.H2("Fit"),
            grid([_loss()]),
            wr.H2("Figures"),
            grid([wr.MediaBrowser(title=name, media_keys=[f"plots/{name}"]) for name in FIGURES], ("leaderboard",)),
        ],
    )


def _runs_of(ranking: BoardRows, tags: tuple[str, ...]) -> And:
    from wandb_workspaces import workspaces as ws

    return ws.And(ws.Config("board") == ranking.board.slug, ws.Tags().isin(list(tags)))


def _lead(ranking: BoardRows) -> str:
    return "macro_accuracy" if ranking.objective.kind == "macro" else "accuracy"


def _accuracies(ranking: BoardRows) -> list[BarPlot]:
    return [_bars(name, ranking) for name in (_lead(ranking), *_GROUPS)]


def _bars(name: str, ranking: BoardRows) -> BarPlot:
    from wandb_workspaces.reports import v2 as wr

    return wr.BarPlot(
        title=name,
        metrics=[wr.SummaryMetric(f"test/{name}")],
        orientation="h",
        groupby=wr.Config(ROW),
        groupby_aggfunc="mean",
        max_bars_to_show=len(ranking.rows),
        max_runs_to_show=sum(len(row.positions) for row in ranking.rows),
    )


def _scatters(ranking: BoardRows) -> list[ScatterPlot]:
    from wandb_workspaces.reports import v2 as wr

    accuracy = wr.SummaryMetric(f"test/{_lead(ranking)}")
    return [
        wr.ScatterPlot(title=f"accuracy against {name}", x=wr.SummaryMetric(f"test/{name}"), y=accuracy)
        for name in ("loma_column_balance", "loma_column_mean")
    ]


def _loss() -> LinePlot:
    from wandb_workspaces.reports import v2 as wr

    return wr.LinePlot(title="training loss", y=["fit/loss"], groupby=ROW)


def _require() -> None:
    require_extra("wandb_workspaces", "dashboard", "wandb dashboard")
