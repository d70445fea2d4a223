"""Callbacks of a fit of head and backbone together: the backbone in checkpoints, a start in the middle of a schedule, progress."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console

from lt_bench.backbones.base import Backbone
from lt_bench.engine.heads.pool import HeadFit
from lt_bench.strategies.contract import Strategy


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


class FitProgress(Callback):
    """A line to stderr now and then.

    Args:
        label: what is fitted.
        lines: about how many over the whole fit.
    """

    def __init__(self, label: str, lines: int = 20) -> None:
        self._label, self._lines, self._started = label, lines, 0.0
        self._console = Console(stderr=True, highlight=False)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how far it is."""
        assert isinstance(pl_module, Strategy)
        assert isinstance(trainer.lightning_module, HeadFit)
        done, total = trainer.current_epoch + 1, pl_module.recipe.epochs
        if done * self._lines // total > (done - 1) * self._lines // total:
            loss = trainer.lightning_module.members[0].mean_loss()
            seconds = time.perf_counter() - self._started
            self._console.print(
                f"{self._label}: epoch {done} of {total}, loss {loss:.4f}, {seconds:.1f} s an epoch", soft_wrap=True, markup=False
            )
