"""Run records through Lightning's loggers: a CSV of every fit, and one W&B run a seed, grouped by strategy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store

PER_CLASS = ("class_accuracy", "loma_column", "rsd_column", "loma_row", "rsd_row")


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
        log_course(logger, record)
        logger.finalize("success")
        if wandb != "off":
            _log_to_wandb(record, store, wandb, project)


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


def _log_to_wandb(record: RunRecord, store: Store, mode: str, project: str) -> None:
    import wandb  # slow to import, and rarely used

    identity, dataset = record.identity, record.dataset
    logger = WandbLogger(
        project=project, offline=mode == "offline", save_dir=store.directory, id=record.id, group=identity.strategy, job_type=dataset.name,
        name=f"{identity.strategy}/{record.cache.name}/s{identity.seed}", tags=[record.strategy.family, record.tuning.kind],
        config={**dataclasses.asdict(identity), "command": record.command}, reinit="finish_previous", settings=wandb.Settings(silent=True),
    )  # fmt: skip
    log_course(logger, record)
    arrays = store.arrays(record)
    counts = np.asarray(dataset.train_counts)
    table = wandb.Table(columns=["class", "train_count", *PER_CLASS])
    for k in np.argsort(-counts, kind="stable"):
        table.add_data(dataset.class_names[k], int(counts[k]), *(float(arrays[f"test/{name}"][k]) for name in PER_CLASS))
    curves = {f"curves/{name}": wandb.plot.line(table, "train_count", name, title=f"{name} by class size") for name in PER_CLASS}
    logger.experiment.log({"per_class": table, **curves})
    wandb.finish()
