"""Dropout and stochastic depth of a network that is trained: they draw from torch's global generator, which is therefore seeded anew for every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lt_bench.core.seeds import derive_seed


class SeededNoise(Callback):
    """Seeds the generators of CPU and GPU at the beginning of every epoch, differently in every process.

    Checkpoints are written at ends of epochs, so a fit that goes on from one draws what the unbroken one draws, and needs no state of a generator.

    Args:
        seed: of the repetition.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed."""
        torch.manual_seed(derive_seed("network noise", self.seed, trainer.current_epoch, trainer.global_rank))


@contextmanager
def generators_restored(device: torch.device) -> Iterator[None]:
    """Restore the global generators of CPU and ``device`` after the block, so that a caller's own draws do not depend on the fits."""
    with torch.random.fork_rng(devices=[] if device.type != "cuda" else [device]):
        yield
