"""W&B as a view of the records: every run, table and plot rebuilt from the files alone, offline or online, as often as wanted.

A W&B run's id is its record's id (a board's: the hash of its identity), so pushing again never makes a second run; what was pushed unchanged to the same place is
skipped by a ledger in the W&B directory.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.activity import steps
from lt_bench.core.commands import word
from lt_bench.core.errors import UserError
from lt_bench.core.extras import require_extra
from lt_bench.core.leftovers import temporary_directory
from lt_bench.leaderboard.boards import BoardRows, row_of
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.stats.statistics import cache_directory
from lt_bench.leaderboard.tables.cells import flat_cells, usable
from lt_bench.leaderboard.tables.columns import registered
from lt_bench.leaderboard.tables.text import csv_text
from lt_bench.leaderboard.wandb.artifacts import artifact_of, cache_artifact, record_artifact, use_artifact
from lt_bench.leaderboard.wandb.ledger import Destination, Ledger
from lt_bench.results.record import RunRecord
from lt_bench.results.shared_images import shared_words
from lt_bench.results.store import Store

if TYPE_CHECKING:
    from wandb import Run

LONGEST_GROUP, LONGEST_TAG = 128, 64
PER_CLASS = ("class_accuracy", "loma_column", "rsd_column", "loma_row", "rsd_row")


def push(results_dir: Path | str, to: Destination, plots: bool = True) -> Ledger:
    """Write every record as a W&B run, and every board as a run with its table and plots.

    Args:
        results_dir: the records.
        to: where to.
        plots: draw the boards' plots too.

    Raises:
        UserError: no records, an extra is missing, or W&B refuses (no account, no network).
    """
    require_extra("wandb", "wandb", "wandb push")
    if plots:
        require_extra("matplotlib", "plots", "wandb push without `--plots false`")
    ledger, caches = Ledger(to), dict[str, RunRecord]()
    boards, store = leaderboard(results_dir, statistics_dir=cache_directory()).boards, Store(results_dir)
    for path in steps(store.paths(), "records pushed"):
        data = path.read_bytes()
        record = RunRecord.from_json(json.loads(data), str(path))
        caches.setdefault(record.cache.key, record)
        files = [path, path.with_suffix(".npz")]
        ledger.once(
            record.id,
            hashlib.sha256(data).hexdigest(),
            lambda record=record, files=files: write_record(record, files, store.arrays(record), to),
        )
    for board in steps(boards, "boards pushed"):
        name = "board-" + hashlib.sha256(repr(board.board).encode()).hexdigest()[:16]
        content = hashlib.sha256("".join(sorted(str(row.runs.columns["id"][p]) for row in board.rows for p in row.positions)).encode())
        ledger.once(
            name,
            content.hexdigest() + ("+plots" if plots else ""),
            lambda board=board, name=name: _write_board(board, name, to, plots, [caches[key] for key in caches_of(board)]),
        )
    return ledger


def run_config(record: RunRecord) -> dict[str, Any]:
    """Identifying fields of a run, flat, for W&B's filters and groups; `board` and `row` are those of the leaderboard, and nothing is averaged over either; `row_of_board` is the row without its board."""
    # Board and row are of the identity alone, and of a fit that has begun nothing is measured yet.
    row = row_of(replace(record, metrics={"test": {"accuracy": 0.0, "macro_accuracy": 0.0}}))
    identity = asdict(record.identity)
    hyperparameters = identity.pop("hyperparameters")
    return {
        **identity,
        **{f"hyper_{name}": value for name, value in hyperparameters.items()},
        **{f"environment_{name}": value for name, value in record.environment.items()},
        "board": row.board.slug,
        "row": row.name,
        "row_of_board": row.name_on_board,
        "family": record.strategy.family,
        "tuning": record.tuning.kind,
        "dataset": record.dataset.name,
        "imbalance_factor": record.dataset.imbalance_factor,
        "split_hash": record.dataset.split_hash,
        "backbone": record.backbone.name,
        "varies": record.seeds.varies,
        "command": record.command,
        **_shared(shared_words(record.cache.shared)),
    }


def run_summary(record: RunRecord) -> dict[str, float]:
    """The scalar metrics as `<view>/<metric>` with times; what does not exist is left out."""
    metrics = {
        f"{view}/{name}": value for view, values in record.metrics.items() for name, value in values.items() if not math.isnan(value)
    }
    return metrics | {"time/fit_s": record.time.fit_s, "time/evaluate_s": record.time.evaluate_s}


def start_record(record: RunRecord, to: Destination, *, live: bool = False) -> Run:
    """Begin the W&B run of a record, of which nothing needs to be measured yet; it stays beside other runs of the process.

    Args:
        record: the run; its row of the leaderboard is the W&B group.
        to: where to.
        live: it is fitted meanwhile, so W&B logs what the machine does.

    Raises:
        UserError: W&B refuses (no account, no network).
    """
    config = run_config(record)
    tags = [record.strategy.family, record.tuning.kind, record.identity.protocol, record.identity.mode, record.dataset.name]
    return start(to, record.id, f"{config['row']}, seed {record.identity.seed}", config["row"], "fit", config, tags, live)


def write_record(
    record: RunRecord, files: Sequence[Path], arrays: Mapping[str, NDArray[Any]], to: Destination, live: Run | None = None
) -> None:
    """One W&B run of a record: the course of the fit, every metric, the per-class values of the test view as a table and as curves over class size, the record as an artifact made of its cache's.

    Args:
        record: the run.
        files: those of the record.
        arrays: those stored with it.
        to: where to.
        live: its W&B run, which has the course already; it ends here.

    Raises:
        UserError: W&B refuses (no account, no network).
    """
    import wandb

    run = live or start_record(record, to)
    for entry in record.training.history if live is None else ():
        run.log(
            {f"fit/{key}": value for key, value in entry.items() if key != "epoch" and value is not None} | {"epoch": entry["epoch"]},
            step=int(entry["epoch"]),
        )
    counts = np.asarray(record.dataset.train_counts)
    per_class = wandb.Table(columns=["class", "train_count", *PER_CLASS])
    for k in np.argsort(-counts, kind="stable"):
        per_class.add_data(record.dataset.class_names[k], int(counts[k]), *(float(arrays[f"test/{metric}"][k]) for metric in PER_CLASS))
    curves = {
        f"curves/{metric}": wandb.plot.line(per_class, "train_count", metric, title=f"{metric} by class size") for metric in PER_CLASS
    }
    run.log({"per_class": per_class, **curves})
    run.summary.update(run_summary(record))
    use_artifact(run, cache_artifact(record))
    run.log_artifact(record_artifact(record, files, run.config.as_dict()))
    run.finish()


def _write_board(ranking: BoardRows, id: str, to: Destination, plots: bool, caches: Sequence[RunRecord]) -> None:  # noqa: A002
    """A board as a W&B run: its table, its plots, and the table as an artifact made of the board's caches."""
    import wandb

    config = asdict(ranking.board) | {"board": ranking.board.slug} | _shared(ranking.shared_images)
    run = start(to, id, f"leaderboard/{ranking.title}", "leaderboard", "leaderboard", config, ["leaderboard"])
    names, data = table(ranking)
    run.log({"leaderboard": wandb.Table(columns=names, data=data)})
    with temporary_directory() as folder:
        if plots:
            from lt_bench.leaderboard.plots.draw import draw_board  # a second of matplotlib, which is an extra

            for drawn in draw_board(ranking, Path(folder)):
                run.log({f"plots/{drawn.name}": wandb.Image(str(drawn.png), caption=drawn.caption)})
        for record in caches:
            use_artifact(run, cache_artifact(record))
        artifact = artifact_of(f"leaderboard-{id}", "leaderboard", [], asdict(ranking.board))
        with artifact.new_file("leaderboard.csv") as file:
            file.write(csv_text([names, *data]))
        run.log_artifact(artifact)
        run.finish()


def table(ranking: BoardRows) -> tuple[list[str | int], list[Any]]:
    """The board as column names and plain rows: numbers as stored, ends of intervals in columns of their own, None for what is missing."""
    names, lines = flat_cells(ranking.rows, usable(ranking, registered()), lambda value, _: None if math.isnan(value) else value)
    return ["row", *names], [[row.label, *line] for row, line in zip(ranking.rows, lines, strict=True)]


def sync_command(directory: Path) -> str:
    """The command that sends the offline runs below a directory."""
    return f"wandb sync {word(directory / 'wandb')}/offline-run-*"


def caches_of(board: BoardRows) -> list[str]:
    """Keys of the caches of a board."""
    return sorted({str(row.runs.columns["cache_key"][position]) for row in board.rows for position in row.positions})


def _shared(said: str) -> dict[str, str]:
    """The line on images that splits share, for a run's configuration; nothing where they share none."""
    return {"shared_images": said} if said else {}


def _cut(group: str) -> str:
    """A group's name of at most 128 letters, which is what W&B takes; a longer one ends in its hash."""
    return group if len(group) <= LONGEST_GROUP else f"{group[: LONGEST_GROUP - 9]}-{hashlib.sha256(group.encode()).hexdigest()[:8]}"


def _as_tags(words: Sequence[str]) -> list[str]:
    """Tags as W&B takes them: 1 to 64 letters each. A strategy of one's own need not name a family, and then has no tag of it."""
    return [word[:LONGEST_TAG] for word in words if word]


def start(
    to: Destination,
    id: str,  # noqa: A002
    name: str,
    group: str,
    job_type: str,
    config: dict[str, Any],
    tags: list[str],
    live: bool = False,
) -> Run:
    """Begin a W&B run; it stays beside other runs of the process.

    Raises:
        UserError: W&B refuses (no account, no network).
    """
    import wandb
    import wandb.errors

    to.directory.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(console="off", silent=True, save_code=False, disable_git=True, x_disable_stats=not live, x_disable_meta=True)
    try:
        return wandb.init(
            project=to.project,
            entity=to.entity,
            id=id,
            name=name,
            group=_cut(group),
            job_type=job_type,
            config=config,
            tags=_as_tags(tags),
            dir=to.directory.resolve(),  # W&B's service process may have started in another folder
            mode="online" if to.online else "offline",
            resume="allow" if to.online else None,
            reinit="create_new",
            settings=settings,
        )
    except (wandb.errors.Error, OSError, ValueError) as error:  # ValueError: what W&B's own checks of a name say
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"W&B refused run {id} ({reason}); log in with `wandb login`, or push offline and `wandb sync` later") from error
