"""Callback of a fit of head and backbone together: the backbone in checkpoints, and a start in the middle of a schedule."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lt_bench.backbones.base import Backbone


class WholeNetwork(Callback):
    """The backbone that is fitted with a head: its state goes into every checkpoint.

    Args:
        network: the backbone.
        start: epochs that a phase 1 has done; the fit begins with the next.
    """

    def __init__(self, network: Backbone, start: int = 0) -> None:
        self.network, self.start = network, start

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
