"""Callback of a fit of head and backbone together: the backbone in checkpoints, and a start from a phase 1 in the middle of a schedule."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lt_bench.backbones.base import Backbone
from lt_bench.features.cache import Head
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.slots.initial_heads import Random, initial_head


def draws_its_head(strategy: type[Strategy] | Strategy) -> bool:
    """Whether a strategy re-trains from torch's random linear head; after a phase 1 the classifier of the network goes on in its place."""
    return type(initial_head(strategy.initial_head)) is Random and strategy.classifier is None


class WholeNetwork(Callback):
    """The backbone that is fitted with a head: its state goes into every checkpoint.

    Args:
        network: the backbone.
        start: epochs that a phase 1 has done; the fit begins with the next.
        head: classifier of the phase 1, in place of a random one.
    """

    def __init__(self, network: Backbone, start: int = 0, head: Head | None = None) -> None:
        self.network, self.start, self.head = network, start, head

    @torch.no_grad()
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start from the classifier of phase 1 where the strategy would draw one; what is restored from a checkpoint of the fit itself comes after this."""
        if self.head is None:
            return
        for strategy in pl_module.modules():
            if isinstance(strategy, Strategy) and draws_its_head(strategy):
                strategy.start_head((self.head.weight, self.head.bias))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epochs of phase 1 as done; what is restored from a checkpoint of the fit itself comes after this."""
        for stage in ("ready", "started", "processed", "completed"):
            setattr(trainer.fit_loop.epoch_progress.current, stage, self.start)

    def state_dict(self) -> dict[str, Any]:
        """The backbone's."""
        return {"network": self.network.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the backbone."""
        self.network.load_state_dict(state_dict["network"])
