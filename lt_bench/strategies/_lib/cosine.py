"""A head that sees directions only, which margin losses in cosine space need."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from lt_bench.core.inference_heads import NormalisedLinear, on_sphere
from lt_bench.strategies._lib.class_weights import kept
from lt_bench.strategies._lib.tensors import of_length
from lt_bench.strategies.contract import Facts, Strategy, check_range
from lt_bench.strategies.recipe import RecipeOptions


class CosineStrategy(Strategy):
    """``z_ic = s h_i w_c / (||h_i|| ||w_c||)``: no bias, rows of unit length to begin with, as kaidic/LDAM-DRW's ``NormedLinear`` has them.

    Args:
        facts: what the data know.
        scale: s, part of the logits in training, at inference and in every metric.
        recipe: fields of ``Recipe``.
    """

    squash: bool = False
    """Whether the feature is divided by 1 + its norm instead."""

    def __init__(self, facts: Facts, *, scale: float, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "scale", scale, 1e-3, 1e3)
        self.bias.requires_grad_(False)
        self.scale = kept(scale)

    def initial_parameters(self) -> tuple[Tensor, Tensor]:
        """The directions of the initial head; its bias is left out."""
        weight, bias = super().initial_parameters()
        return of_length(weight), torch.zeros_like(bias)

    def inputs(self, features: Tensor) -> Tensor:
        """Features on the unit sphere."""
        return on_sphere(features, self.squash)

    def row_length(self) -> Tensor | float:
        """s."""
        return self.scale.unsqueeze(-1) if isinstance(self.scale, Tensor) else self.scale

    def inference_head(self, head: int = 0) -> nn.Module:
        """Scaled cosines."""
        return NormalisedLinear(self.per_head_classifier(head), squash=self.squash)

    def per_head_classifier(self, head: int = 0) -> Tensor:
        """The scaled directions (K, D)."""
        return of_length(self.weight[head].detach(), float(self.one_per_head(self.scale)[head]))


def less_on_true(logits: Tensor, labels: Tensor, amount: Tensor) -> Tensor:
    """Logits (..., B, K) with ``amount`` (..., B) taken from those of the true classes."""
    index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    return logits.scatter_add(-1, index, -amount.expand(index.shape[:-1]).unsqueeze(-1).to(logits))
