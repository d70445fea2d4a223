"""Lightning's loggers: a CSV of every fit and one W&B run a seed, grouped by the row of the leaderboard; one W&B run of a stage 1."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from lt_bench.bench.any_logger import logger_of
from lt_bench.core.errors import UserError
from lt_bench.core.launchers import is_first_process
from lt_bench.leaderboard.wandb.ledger import Destination
from lt_bench.leaderboard.wandb.view import write_record
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store

if TYPE_CHECKING:
    from wandb import Run


def log_records(
    records: Sequence[RunRecord], store: Store, wandb: str, project: str, other: str = "csv", live: dict[str, Run] | None = None
) -> None:
    """Log losses, rates and metrics of every fit as CSV beside the records, and to W&B and another logger where asked.

    Args:
        records: of one verb.
        store: where their arrays are.
        wandb: ``off``, ``offline`` (no account, no network) or ``online``.
        project: W&B project, and experiment of the other logger.
        other: a name that ``any_logger.logger_of`` takes; a record is logged once by each.
        live: W&B runs of fits that were followed (``live_curves``), by record id; they end here, and are taken out.
    """
    for record in records:
        logger = CSVLogger(save_dir=store.directory / "logs", name=record.identity.strategy, version=record.id)
        if not Path(logger.log_dir).exists():  # a record does not change, so neither does its log
            log_fit(logger, record)
            logger.finalize("success")
        if other not in ("csv", "wandb"):
            _log_once(other, record, store, project)
        if wandb != "off":
            path, to = store.path(record), destination(wandb, project, store)
            write_record(record, [path, path.with_suffix(".npz")], store.arrays(record), to, (live or {}).pop(record.id, None))


def destination(wandb: str, project: str, store: Store) -> Destination:
    """Project, mode and folder of the W&B runs of records."""
    return Destination(project, None, wandb == "online", store.directory)


def _log_once(name: str, record: RunRecord, store: Store, project: str) -> None:
    """Log a record by another logger, and remember that it was."""
    done = store.directory / "logs" / record.identity.strategy / record.id / f"{name}.logged"
    if not done.exists():
        logger = logger_of(name, record, store, project)
        log_fit(logger, record)
        logger.finalize("success")
        done.touch()


def log_fit(logger: Logger, record: RunRecord) -> None:
    """Training loss and rate per epoch, then every metric at the last epoch."""
    history = record.training.history
    logger.log_hyperparams(record.identity.hyperparameters)
    for row in history:
        values = {"train/loss" if key == "loss" else key: value for key, value in row.items() if key != "epoch"}
        logger.log_metrics(values, step=int(row["epoch"]))
    finals = {
        f"{view}/{name}": value for view, metrics in record.metrics.items() for name, value in metrics.items() if not math.isnan(value)
    }
    logger.log_metrics({**finals, "fit_s": record.time.fit_s}, step=len(history))
    logger.save()


def stage1_logger(out: Path, plan: Mapping[str, Any], mode: str, project: str) -> WandbLogger | None:
    """The W&B run of a stage 1, which a resumed one goes on with: its id is the hash of the plan and the directory.

    Args:
        out: directory of the run; W&B writes under it.
        plan: what is trained, the run's configuration.
        mode: ``off``, ``offline`` (no account, no network) or ``online``.
        project: W&B project.

    Raises:
        UserError: W&B refuses (no account, no network).
    """
    if mode == "off":
        return None
    import wandb  # only where it is asked for
    import wandb.errors

    identity = hashlib.sha256(json.dumps([str(out.resolve()), dict(plan)], sort_keys=True).encode()).hexdigest()[:16]
    settings = wandb.Settings(console="off", silent=True, save_code=False, disable_git=True, x_disable_stats=True, x_disable_meta=True)
    logger = WandbLogger(
        project=project, name=out.name, id=identity, save_dir=out.resolve(), offline=mode == "offline", group="stage 1", job_type=str(plan["dataset"]),
        config=dict(plan), resume="allow" if mode == "online" else None, settings=settings,
    )  # fmt: skip
    try:
        if is_first_process():
            _ = logger.experiment  # begins the run
    except (wandb.errors.Error, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"W&B refused run {identity} ({reason}); log in with `wandb login`, or use --wandb offline and `wandb sync` later"
        ) from error
    return logger
