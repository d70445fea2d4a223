"""The stage-1 classifier held fixed, for strategies that train a scale and a shift of its logits per class."""

from __future__ import annotations

from typing import Literal, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.strategies._lib.class_weights import inverse_power_weights
from lt_bench.strategies.contract import Facts, Strategy, check_range
from lt_bench.strategies.recipe import RecipeOptions


class CalibrationLayer(Strategy):
    """W and b are frozen, a scale per class (from 1) and a shift (from 0) are trained under ``w_c = (1 / pi_c)^rho`` scaled to sum to K.

    Args:
        facts: what the data know.
        rho: power of the inverse frequency.
        reduction: of the batch's loss.
        recipe: fields of ``Recipe``.
    """

    def __init__(self, facts: Facts, *, rho: float, reduction: Literal["samples", "weights"], **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "rho", rho, 0.0, 5.0)
        self.reduction = reduction
        self.class_weight = inverse_power_weights(self.class_counts, rho)
        self.weight.requires_grad_(False)
        self.bias.requires_grad_(False)
        self.scale = nn.Parameter(torch.ones_like(self.bias))
        self.shift = nn.Parameter(torch.zeros_like(self.bias))

    def frozen_logits(self, features: Tensor) -> Tensor:
        """Logits (H, B, K) of the stage-1 classifier, which is that of every head and computed once per batch order."""
        return self.spread(F.linear(features, self.weight[0], self.bias[0]))
