"""W&B as a view of the records: every run, table and plot rebuilt from the files alone, offline or online, as often as wanted.

A W&B run's id is its record's id (a board's: the hash of its identity), so pushing again never makes a second run; what was pushed unchanged to the same place is
skipped by a ledger in the W&B directory.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.leftovers import temporary_directory
from lt_bench.core.seals import read_json_object
from lt_bench.leaderboard.boards import BoardRows, row_of
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.stats.statistics import cache_directory
from lt_bench.leaderboard.tables.cells import flat_cells, usable
from lt_bench.leaderboard.tables.columns import registered
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store

if TYPE_CHECKING:
    from wandb import Run

LEDGER = "lt-bench-pushed.json"
LONGEST_GROUP = 128
PER_CLASS = ("class_accuracy", "loma_column", "rsd_column", "loma_row", "rsd_row")


@dataclass(frozen=True)
class Pushed:
    """Ids of the W&B runs that were written, and of those that were there already."""

    written: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Destination:
    """Destination of a push: a W&B project, and the local directory W&B writes under."""

    project: str
    entity: str | None
    online: bool
    directory: Path

    def key(self, id: str) -> str:  # noqa: A002
        """The ledger's name for a run at this destination."""
        return f"{'online' if self.online else 'offline'}:{self.entity or ''}/{self.project}/{id}"


def push(
    results_dir: Path | str,
    project: str = "lt-bench",
    entity: str | None = None,
    online: bool = False,
    directory: Path | str = Path(),
    plots: bool = True,
) -> Pushed:
    """Write every record as a W&B run, and every board as a run with its table and plots.

    Args:
        results_dir: the records.
        project: W&B project.
        entity: W&B user or team; only needed online.
        online: send now; otherwise write offline runs, which `wandb sync` sends later.
        directory: W&B writes its `wandb` folder, and we our ledger, here.
        plots: draw the boards' plots too.

    Raises:
        UserError: no records, or W&B refuses (no account, no network).
    """
    to = Destination(project, entity, online, Path(directory))
    ledger_path = to.directory / LEDGER
    ledger = read_json_object(ledger_path, "move it away to push everything again") if ledger_path.is_file() else {}
    written, skipped = [], []

    def once(id: str, content: str, write: Any) -> None:  # noqa: A002
        if ledger.get(to.key(id)) == content:
            skipped.append(id)
            return
        write()
        ledger[to.key(id)] = content
        write_text(ledger_path, json.dumps(ledger, indent=1, sort_keys=True) + "\n")
        written.append(id)

    boards, store = leaderboard(results_dir, statistics_dir=cache_directory()).boards, Store(results_dir)
    for path in store.paths():
        data = path.read_bytes()
        record = RunRecord.from_json(json.loads(data), str(path))
        once(record.id, hashlib.sha256(data).hexdigest(), lambda record=record: write_record(record, store.arrays(record), to))
    for board in boards:
        name = "board-" + hashlib.sha256(repr(board.board).encode()).hexdigest()[:16]
        content = hashlib.sha256("".join(sorted(str(row.runs.columns["id"][p]) for row in board.rows for p in row.positions)).encode())
        once(name, content.hexdigest() + ("+plots" if plots else ""), lambda board=board, name=name: _write_board(board, name, to, plots))
    return Pushed(tuple(written), tuple(skipped))


def run_config(record: RunRecord) -> dict[str, Any]:
    """Identifying fields of a run, for W&B's filters and groups; `board` and `row` are those of the leaderboard, and nothing is averaged over either."""
    row = row_of(record)
    return asdict(record.identity) | {
        "board": row.board.slug,
        "row": row.name,
        "family": record.strategy.family,
        "tuning": record.tuning.kind,
        "dataset": record.dataset.name,
        "imbalance_factor": record.dataset.imbalance_factor,
        "split_hash": record.dataset.split_hash,
        "backbone": record.backbone.name,
        "varies": record.seeds.varies,
        "environment": record.environment,
        "command": record.command,
    }


def run_summary(record: RunRecord) -> dict[str, float]:
    """The scalar metrics as `<view>/<metric>` with times; what does not exist is left out."""
    metrics = {
        f"{view}/{name}": value for view, values in record.metrics.items() for name, value in values.items() if not math.isnan(value)
    }
    return metrics | {"time/fit_s": record.time.fit_s, "time/evaluate_s": record.time.evaluate_s}


def write_record(record: RunRecord, arrays: Mapping[str, NDArray[Any]], to: Destination) -> None:
    """One W&B run of a record: the course of the fit, every metric, and the per-class values of the test view as a table and as curves over class size.

    Args:
        record: the run; its row of the leaderboard is the W&B group, its data set the job type.
        arrays: those stored with it.
        to: where to.

    Raises:
        UserError: W&B refuses (no account, no network).
    """
    import wandb

    config = run_config(record)
    tags = [record.strategy.family, record.tuning.kind, record.identity.protocol, record.identity.mode]
    run = _start(to, record.id, f"{config['row']}, seed {record.identity.seed}", config["row"], record.dataset.name, config, tags)
    for entry in record.training.history:
        run.log({f"fit/{key}": value for key, value in entry.items() if key != "epoch" and value is not None}, step=int(entry["epoch"]))
    counts = np.asarray(record.dataset.train_counts)
    per_class = wandb.Table(columns=["class", "train_count", *PER_CLASS])
    for k in np.argsort(-counts, kind="stable"):
        per_class.add_data(record.dataset.class_names[k], int(counts[k]), *(float(arrays[f"test/{metric}"][k]) for metric in PER_CLASS))
    curves = {
        f"curves/{metric}": wandb.plot.line(per_class, "train_count", metric, title=f"{metric} by class size") for metric in PER_CLASS
    }
    run.log({"per_class": per_class, **curves})
    run.summary.update(run_summary(record))
    run.finish()


def _write_board(ranking: BoardRows, id: str, to: Destination, plots: bool) -> None:  # noqa: A002
    import wandb

    from lt_bench.leaderboard.plots.draw import draw_board

    run = _start(to, id, f"leaderboard/{ranking.title}", "leaderboard", ranking.board.dataset, asdict(ranking.board), ["leaderboard"])
    names, data = table(ranking)
    run.log({"leaderboard": wandb.Table(columns=names, data=data)})
    with temporary_directory() as folder:
        for drawn in draw_board(ranking, Path(folder)) if plots else ():
            run.log({f"plots/{drawn.name}": wandb.Image(str(drawn.png), caption=drawn.caption)})
    run.finish()


def table(ranking: BoardRows) -> tuple[list[str | int], list[Any]]:
    """The board as column names and plain rows: numbers as stored, ends of intervals in columns of their own, None for what is missing."""
    names, lines = flat_cells(ranking.rows, usable(ranking, registered()), lambda value, _: None if math.isnan(value) else value)
    return ["row", *names], [[row.label, *line] for row, line in zip(ranking.rows, lines, strict=True)]


def _cut(group: str) -> str:
    """A group's name of at most 128 letters, which is what W&B takes; a longer one ends in its hash."""
    return group if len(group) <= LONGEST_GROUP else f"{group[: LONGEST_GROUP - 9]}-{hashlib.sha256(group.encode()).hexdigest()[:8]}"


def _start(to: Destination, id: str, name: str, group: str, job_type: str, config: dict[str, Any], tags: list[str]) -> Run:  # noqa: A002
    import wandb
    import wandb.errors

    to.directory.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(console="off", silent=True, save_code=False, disable_git=True, x_disable_stats=True, x_disable_meta=True)
    try:
        return wandb.init(
            project=to.project,
            entity=to.entity,
            id=id,
            name=name,
            group=_cut(group),
            job_type=job_type,
            config=config,
            tags=tags,
            dir=to.directory.resolve(),  # W&B's service process may have started in another folder
            mode="online" if to.online else "offline",
            resume="allow" if to.online else None,
            settings=settings,
        )
    except (wandb.errors.Error, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"W&B refused run {id} ({reason}); log in with `wandb login`, or push offline and `wandb sync` later") from error
