"""Softmax equalization loss."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from lt_bench.strategies._lib.class_weights import kept
from lt_bench.strategies._lib.cross_entropy import shift
from lt_bench.strategies.contract import Facts, Strategy, check_range
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class SEQL(Strategy):
    """SEQL: rare classes are left out of the denominator of other classes' samples, at random.

    ``l_i = -log(exp(z_y) / sum_k w_ik exp(z_k))``, ``w_ik = 1 - beta_ik 1[pi_k < threshold] (1 - e_yk)``, beta_ik 1 with probability gamma, drawn anew for every
    sample and class; as a transform, T(z)_k = z_k + log w_ik. zhangyongshun/BagofTricks-LT has gamma 0.9 and threshold 0.005 for CIFAR-100-LT; the survey of
    Zhang et al. 0.00043 on ImageNet-LT. With pi_k above the threshold for all k, as with 0.005 on balanced data, it is cross-entropy.

    Published end to end; the recipe for a head alone, from the stage-1 head, is inferred.

    Args:
        facts: what the data know.
        gamma: probability of leaving a rare class out.
        threshold: training frequency below which a class is rare.
        recipe: fields of ``Recipe``.
    """

    name = "seql"
    family = "re-weighting"
    paper = "Tan et al., Equalization Loss for Long-Tailed Object Recognition, CVPR 2020; code zhangyongshun/BagofTricks-LT (SEQL)"
    capturable = False
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    settings = {"imagenet_lt": {"threshold": 0.00043}}
    grid = {"gamma": (0.5, 0.9), "threshold": (0.0015, 0.005, 0.015), "lr": (0.001, 0.01, 0.1)}

    def __init__(self, facts: Facts, *, gamma: float = 0.9, threshold: float = 0.005, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "gamma", gamma, 0.0, 1.0)
        check_range(self.name, "threshold", threshold, 0.0, 1.0)
        self.gamma = kept(gamma)
        rare = self.class_counts / self.class_counts.sum() < torch.as_tensor(threshold, dtype=torch.float64)
        self.rare = nn.Buffer(rare if rare.dim() == 1 else rare.unsqueeze(1), persistent=False)

    @shift
    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits with -inf where a rare class is left out; the true class never is."""
        gamma = self.gamma.unsqueeze(-1) if isinstance(self.gamma, Tensor) else self.gamma
        left_out = (self.draws.uniform(logits) < gamma) & self.rare
        left_out = left_out.scatter(-1, labels.expand(logits.shape[:-1]).unsqueeze(-1), False)
        return logits.masked_fill(left_out, -torch.inf)
