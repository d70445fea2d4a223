"""A callback that shifts the start of a fit by about a rounding error."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lt_bench.strategies.contract import Strategy

SHIFT = 1e-6


class ShiftedStart(Callback):
    """Moves every trained parameter of a head by `SHIFT` of its root mean square (of 1 where all are 0), normally distributed, before the first step.

    The shift of a head does not depend on the heads that are fitted in one stack with it, and is the same in every process.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shift the parameters."""
        assert isinstance(pl_module, Strategy)
        draws = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in (one for one in pl_module.parameters() if one.requires_grad):
                heads = parameter.unsqueeze(0) if pl_module.heads is None else parameter
                noise = torch.randn(heads.shape[1:], generator=draws, dtype=torch.float32).to(parameter)
                for head in heads:
                    head.add_(noise, alpha=SHIFT * (float(head.square().mean().sqrt()) or 1.0))
