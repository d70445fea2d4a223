"""Callbacks of stage-1 training: checkpoints that survive a kill, the log of epochs, progress."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lt_bench.backbones.training_rows import FILES, ROWS
from lt_bench.core.content import Hashes
from lt_bench.core.errors import UserError
from lt_bench.core.files import replacing, write_text
from lt_bench.core.seals import seal_archive
from lt_bench.engine.pretrain.stage1 import Stage1

LOG_COLUMNS: tuple[str, ...] = ("epoch", "lr", "loss", "train_accuracy", "val_accuracy", "seconds")


class KeepCheckpoint(Checkpoint):
    """Saves the whole state of training at the end of epochs, sealed, under a temporary name first.

    Args:
        path: the checkpoint that is replaced every time.
        every: epochs between two.
        keep: epochs (counted from 1) whose state is kept beside it, as ``epoch-<n>.ckpt``.
        rows: hashes of the images that are trained on.
        files: version of their files (``data.hashes.files_version``), by which who resumes knows that the hashes still hold.
    """

    def __init__(self, path: Path, every: int, keep: Collection[int] = (), rows: Hashes | None = None, files: int | None = None) -> None:
        self.path, self.every, self.keep, self.rows, self.files = path, every, frozenset(keep), rows, files

    def state_dict(self) -> dict[str, Any]:
        """The hashes, so that whoever goes on from here knows what the network has seen."""
        rows = {} if self.rows is None else {ROWS: torch.from_numpy(self.rows.view(np.int64))}
        return rows if self.files is None else {**rows, FILES: torch.tensor(self.files)}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save where it is due."""
        done = trainer.current_epoch + 1
        if done % self.every == 0 or done == trainer.max_epochs:
            self._save(trainer, self.path)
        if done in self.keep:
            self._save(trainer, self.path.with_name(f"epoch-{done}.ckpt"))

    def _save(self, trainer: Trainer, path: Path) -> None:
        with replacing(path) if trainer.is_global_zero else nullcontext(path) as temporary:  # the others only wait for the first
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                seal_archive(temporary)


class EpochLog(Callback):
    """Writes one CSV row an epoch, which the Trainer's loggers get too, and shows progress: a bar in a terminal, else a line now and then.

    Args:
        path: the CSV file; rows of epochs before the one that training resumes at are kept.
        validate_every: epochs between two validations; the last epoch always has one.
        progress: whether to show anything.
        label: what is being trained, for the progress.
    """

    def __init__(self, path: Path, validate_every: int, progress: bool, label: str) -> None:
        self.path, self.validate_every, self.label = path, validate_every, label
        self.rows: list[dict[str, str]] = []
        self.console = Console(stderr=True, quiet=not progress)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"), TimeRemainingColumn(),
            console=self.console,
        )  # fmt: skip
        self.task = TaskID(0)
        self.started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read what earlier runs logged."""
        if self.path.is_file():
            try:
                with self.path.open(newline="", encoding="utf-8") as file:
                    self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= trainer.current_epoch]
            except (ValueError, KeyError, TypeError, csv.Error) as error:
                raise UserError(
                    f"{self.path}: a damaged log of epochs ({error}); move it away, and training goes on with a new one"
                ) from None
        if trainer.is_global_zero and self.console.is_terminal:
            self.task = self.bar.add_task(self.label, total=trainer.max_epochs, completed=trainer.current_epoch, figures="")
            self.bar.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch."""
        assert isinstance(pl_module, Stage1)
        done, figures = trainer.current_epoch + 1, pl_module.epoch_figures()
        seconds = time.perf_counter() - self.started
        validate = done % self.validate_every == 0 or done == trainer.max_epochs
        accuracy = pl_module.val_accuracy() if validate else None
        values = (
            done, f"{pl_module.learning_rate(done - 1):.6g}", f"{figures['loss']:.6f}", f"{figures['train_accuracy']:.6f}",
            "" if accuracy is None else f"{accuracy:.6f}", f"{seconds:.3f}",
        )  # fmt: skip
        self.rows.append({name: str(value) for name, value in zip(LOG_COLUMNS, values, strict=True)})
        if trainer.is_global_zero:
            self._write()
            self._show(trainer, done, figures["loss"], accuracy, seconds)
        logged = {**figures, "lr": pl_module.learning_rate(done - 1), "seconds": seconds} | (
            {} if accuracy is None else {"val_accuracy": accuracy}
        )
        for logger in trainer.loggers:
            logger.log_metrics({f"stage1/{name}": value for name, value in logged.items()}, step=done)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self.bar.stop()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the terminal back."""
        self.bar.stop()

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, LOG_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())

    def _show(self, trainer: Trainer, done: int, loss: float, accuracy: float | None, seconds: float) -> None:
        figures = f"loss {loss:.3f}" + ("" if accuracy is None else f", val {100 * accuracy:.2f} %") + f", {seconds:.1f} s/epoch"
        if self.console.is_terminal:
            self.bar.update(self.task, completed=done, figures=figures)
        elif accuracy is not None:
            self.console.print(f"{self.label}: epoch {done}/{trainer.max_epochs}, {figures}", markup=False, highlight=False)
