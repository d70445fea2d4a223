"""A W&B workspace and a report that compare strategies, built with wandb-workspaces (the extra `dashboard`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lt_bench.core.errors import UserError
from lt_bench.core.extras import require_extra

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import BarPlot, LinePlot, ScatterPlot
    from wandb_workspaces.reports.v2.interface import Report
    from wandb_workspaces.workspaces import Workspace

ROW = "row"
GROUPS = ("board", ROW)
"""Fields of a run's configuration that hold the leaderboard's identities: means over them are over seeds alone."""
_GROUPS = ("accuracy", "many", "medium", "few")
_LOGITS = ("loma_column_mean", "loma_column_balance", "rsd_column_mean", "calibration_error")


def dashboard(entity: str, project: str) -> list[str]:
    """Save the workspace and the report to W&B and return their addresses.

    Raises:
        UserError: wandb-workspaces is not installed, or W&B refuses: no account, no network, no such entity.
    """
    _require()
    import wandb

    try:
        space, text = workspace(entity, project), report(entity, project)
        space.save()
        text.save()
    except (wandb.Error, OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"W&B did not take the dashboard of {entity}/{project}: {said}; `wandb login`, then again") from error
    return [str(space.url), str(text.url)]


def workspace(entity: str, project: str) -> Workspace:
    """The workspace, not yet saved: accuracy by group, logits, fit; runs of the records only, grouped by the leaderboard's boards and rows."""
    _require()
    from wandb_workspaces import workspaces as ws

    return ws.Workspace(
        entity=entity,
        project=project,
        name="lt-bench: strategies compared",
        sections=[
            ws.Section(name="Accuracy", panels=[_bars(name) for name in _GROUPS], is_open=True),
            ws.Section(name="Logits", panels=[*(_bars(name) for name in _LOGITS), *_scatters()], is_open=True),
            ws.Section(name="Fit", panels=[_loss()], is_open=False),
        ],
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Config(name) for name in GROUPS],
            filters=ws.And(ws.Tags().isin(["official", "inferred", "author-tuned", "tuned", "user"])),
        ),
    )


def report(entity: str, project: str) -> Report:
    """The report, not yet saved."""
    _require()
    from wandb_workspaces.reports import v2 as wr
    from wandb_workspaces.reports.v2.interface import Report, Runset

    def grid(panels: list) -> wr.PanelGrid:
        runs = Runset(entity=entity, project=project, name="rows of the leaderboard", groupby=[f"config.{name}" for name in GROUPS])
        return wr.PanelGrid(runsets=[runs], panels=panels)

    return Report(
        entity=entity,
        project=project,
        title="Long-tailed classifier re-training: strategies compared",
        description="Rebuilt from lt-bench records. A bar is a row of the leaderboard, the mean of its seeds. Filter to one board before comparing: rows of different boards are not comparable.",
        blocks=[
            wr.H2("Accuracy"),
            grid([_bars(name) for name in _GROUPS]),
            wr.H2("Logit magnitude"),
            wr.P("LoMa and RSD in the column reading on test. An association between strategies is not a cause."),
            grid([*(_bars(name) for name in _LOGITS), *_scatters()]),
            wr.H2("Fit"),
            grid([_loss()]),
        ],
    )


def _bars(name: str) -> BarPlot:
    from wandb_workspaces.reports import v2 as wr

    return wr.BarPlot(
        title=name, metrics=[wr.SummaryMetric(f"test/{name}")], orientation="h", groupby=wr.Config(ROW), groupby_aggfunc="mean"
    )


def _scatters() -> list[ScatterPlot]:
    from wandb_workspaces.reports import v2 as wr

    return [
        wr.ScatterPlot(title=f"accuracy against {name}", x=wr.SummaryMetric(f"test/{name}"), y=wr.SummaryMetric("test/accuracy"))
        for name in ("loma_column_balance", "loma_column_mean")
    ]


def _loss() -> LinePlot:
    from wandb_workspaces.reports import v2 as wr

    return wr.LinePlot(title="training loss", y=["fit/loss"], groupby=ROW)


def _require() -> None:
    require_extra("wandb_workspaces", "dashboard", "wandb dashboard")
