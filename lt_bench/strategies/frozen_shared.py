"""The stage-1 classifier held fixed, for strategies that train a correction of its logits."""

from __future__ import annotations

from typing import Literal, Unpack

import torch.nn.functional as F
from torch import Tensor

from lt_bench.strategies.base import Facts, Strategy
from lt_bench.strategies.recipe import RecipeOptions


class FrozenClassifier(Strategy):
    """W and b are not trained; their logits are computed once for all heads of a stack that share a batch.

    Args:
        facts: what the data know.
        reduction: of the batch's loss.
        recipe: fields of ``Recipe``.
    """

    def __init__(self, facts: Facts, *, reduction: Literal["samples", "weights"] = "samples", **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        self.reduction = reduction
        self.weight.requires_grad_(False)
        self.bias.requires_grad_(False)

    def frozen_logits(self, features: Tensor) -> Tensor:
        """Logits (H, B, K) of the stage-1 classifier, which is that of every head."""
        return self.spread(F.linear(features, self.weight[0], self.bias[0]))
