"""The contract's check that a fit can be saved half way and resumed."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch.utils.data import DataLoader

from lt_bench.bench.contract.subject import EPOCHS, Problem, build, problem, require
from lt_bench.engine.heads.fit import Passthrough
from lt_bench.features.samplers import EpochOrder
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.registry import Entry


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
    with tempfile.TemporaryDirectory() as folder:
        half_way = Path(folder) / "half.ckpt"
        whole = _fit(entry, on, [SaveAt(EPOCHS // 2 - 1, half_way)])
        resumed = _fit(entry, on, [], half_way)
    for name, tensor in whole.state_dict().items():
        same = torch.allclose(tensor, resumed.state_dict()[name], rtol=1e-6, atol=1e-7, equal_nan=True)
        require(
            same,
            f"{name} ends elsewhere when the fit is saved and resumed; keep what changes during a fit in persistent buffers or parameters",
        )


def _fit(entry: Entry, on: Problem, callbacks: list[Callback], resume: Path | None = None) -> Strategy:
    strategy = build(entry, on, torch.float32)
    recipe = strategy.recipe
    order = EpochOrder(
        on.train.labels, strategy.class_counts.long(), strategy.sampler, (0,), (1,), epochs=recipe.epochs, batch_size=recipe.batch_size
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="cpu", devices=1, max_epochs=recipe.epochs, logger=False, enable_checkpointing=bool(callbacks), enable_progress_bar=False,
            enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0, callbacks=callbacks,
        )  # fmt: skip
        trainer.fit(strategy, DataLoader(Passthrough(), sampler=order, batch_size=None), ckpt_path=resume)
    return strategy
