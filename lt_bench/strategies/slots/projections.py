"""Projections of the parameters after a step or an epoch."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import Slot, assign


class Projection(Slot):
    """An entry of the slot projection."""

    slot = "projection"

    def begin(self, weight: Tensor) -> None:
        """See the initial rows (K, D)."""

    @abstractmethod
    def __call__(self, weight: Tensor, after: Literal["step", "epoch"]) -> None:
        """Change the weight in place."""


class MaxNorm(Projection):
    """Rows scaled back onto a ball: ``w_c <- w_c min(1, r / ||w_c||)``, ``r = min ||w|| + threshold (max ||w|| - min ||w||)`` over the initial rows.

    Alshammari et al., CVPR 2022: every iteration in the paper, once an epoch in ShadeAlsha/LTR-weight-balancing.
    """

    name = "max_norm"
    threshold: float = hyper(0.1, low=0, high=1, help="where the radius lies between the shortest and the longest initial row")
    after: Literal["step", "epoch", "never"] = hyper("step", help="project after every step, every epoch, or never")

    def begin(self, weight: Tensor) -> None:
        """The radius (1,), or (H, 1)."""
        norms = weight.norm(dim=-1)
        low, high = norms.amin(-1, keepdim=True), norms.amax(-1, keepdim=True)
        self._buffers.pop("radius", None)
        assign(self, "radius", low + torch.as_tensor(self.threshold).to(low) * (high - low))

    def __call__(self, weight: Tensor, after: Literal["step", "epoch"]) -> None:
        """Rows longer than the radius are scaled back to it."""
        if after == self.after:
            norms = weight.norm(dim=-1).clamp_min(1e-12)
            weight.mul_((self.radius / norms).clamp_max(1.0).unsqueeze(-1))

    radius: Tensor
