"""Share of the fits of a unit that is done, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

EVERY = 0.5
"""Seconds between two reports at least."""


class ShareOfFits(Callback):
    """Tells the share of the epochs of all stacks of a unit that are done. The stacks share it; the clock is read once an epoch.

    Args:
        tell: called with the share, a number from 0 to 1.
    """

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell, self._stacks, self._ended, self._told = tell, 0, 0, monotonic()

    def of_stack(self) -> list[Callback]:
        """The callbacks of one more stack."""
        self._stacks += 1
        return [self]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the share, at most every `EVERY` seconds."""
        if (now := monotonic()) - self._told >= EVERY:
            self._told = now
            members: Any = getattr(trainer.lightning_module, "members", [pl_module])
            epochs = len(members) * (trainer.current_epoch + 1) / (trainer.max_epochs or 1)
            self._tell((self._ended + epochs) / self._stacks)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count a stack whose fit has ended."""
        self._ended += 1
