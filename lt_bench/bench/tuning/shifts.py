"""A start of a fit that differs from another by rounding."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

SHIFT = 1e-6


class ShiftedStart(Callback):
    """Moves every trained parameter by `SHIFT` of its root mean square (of 1 where all are 0), normally distributed, before the first step; the same in every process."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shift the parameters."""
        draws = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in (one for one in pl_module.parameters() if one.requires_grad):
                size = float(parameter.square().mean().sqrt()) or 1.0
                noise = torch.randn(parameter.shape, generator=draws, dtype=torch.float32).to(parameter)
                parameter.add_(noise, alpha=SHIFT * size)
