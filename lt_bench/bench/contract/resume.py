"""The contract's check that a fit can be saved half way and resumed."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint

from lt_bench.bench.contract.subject import EPOCHS, Problem, job, problem, require
from lt_bench.core.leftovers import temporary_directory
from lt_bench.engine.heads.fit import fit_heads
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.entry import Entry


class SaveAt(Checkpoint):
    """Saves a checkpoint after one epoch of a fit; Lightning calls a ``Checkpoint`` once the strategy has ended its epoch."""

    def __init__(self, epoch: int, path: Path) -> None:
        self.epoch, self.path = epoch, path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save."""
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)


def resumes(entry: Entry) -> None:
    """Refuse a strategy whose fit ends elsewhere when it is interrupted."""
    on = problem()
    with temporary_directory() as folder:
        half_way = Path(folder) / "half.ckpt"
        whole = _fit(entry, on, [SaveAt(EPOCHS // 2 - 1, half_way)])
        resumed = _fit(entry, on, [], half_way)
    for name, tensor in whole.state_dict().items():
        same = torch.allclose(tensor, resumed.state_dict()[name], rtol=1e-6, atol=1e-7, equal_nan=True)
        require(
            same,
            f"{name} ends elsewhere when the fit is saved and resumed; state that changes during a fit belongs into persistent buffers or parameters",
        )


def _fit(entry: Entry, on: Problem, callbacks: list[Callback], resume: Path | None = None) -> Strategy:
    return fit_heads([[job(entry)]], on.facts, on.train, callbacks=[callbacks], resume=resume, held_out=on.train)[0].strategy
