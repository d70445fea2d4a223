"""Run records through Lightning's loggers: a CSV of every fit, and one W&B run a seed, grouped by strategy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger

from lt_bench.leaderboard.wandb_view import Destination, write_record
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store


def log_records(records: Sequence[RunRecord], store: Store, wandb: str, project: str) -> None:
    """Log the course of every fit and its metrics as CSV beside the records, and to W&B where asked.

    Args:
        records: of one verb.
        store: where their arrays are.
        wandb: ``off``, ``offline`` (no account, no network) or ``online``.
        project: W&B project.
    """
    for record in records:
        logger = CSVLogger(save_dir=store.directory / "logs", name=record.identity.strategy, version=record.id)
        if not Path(logger.log_dir).exists():  # a record does not change, so neither does its log
            log_course(logger, record)
            logger.finalize("success")
        if wandb != "off":
            write_record(record, store.arrays(record), Destination(project, None, wandb == "online", store.directory))


def log_course(logger: Logger, record: RunRecord) -> None:
    """Training loss and rate per epoch, then every metric at the last epoch."""
    history = record.training.history
    logger.log_hyperparams(record.identity.hyperparameters)
    for row in history:
        logger.log_metrics({"train/loss": row["loss"], "lr": row["lr"]}, step=int(row["epoch"]))
    finals = {
        f"{view}/{name}": value for view, metrics in record.metrics.items() for name, value in metrics.items() if not math.isnan(value)
    }
    logger.log_metrics({**finals, "fit_s": record.time.fit_s}, step=len(history))
    logger.save()
