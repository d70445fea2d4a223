"""LADE: label distribution disentangling."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.strategies._lib.cross_entropy import shift
from lt_bench.strategies._lib.tensors import at_least_float32, of_head
from lt_bench.strategies.contract import Facts, Recipe, Strategy
from lt_bench.strategies.hyper import hyper

SMALL = 1e-9


class LADE(Strategy):
    """LADE: cross-entropy with the prior added, and a bound on the divergence of each class's logits as a regulariser.

    ``l_i = CE(z_i + log pi, y)``, plus alpha times a statistic of the batch (hyperconnect/LADE ``loss/LADELoss.py:29-53``)
    ``LADER = -sum_c pi_c (first_c - second_c - penalty second_c^2)``, first_c the mean of z_ic over the batch's samples of class c (0 where there is none),
    ``second_c = log mean_i exp(z_ic - log pi_c - log K)`` over the whole batch. It is weighted by pi, so the head dominates, and classes absent from the batch
    still contribute their second term. The plain logits are those for a balanced test set, log pi_t being a constant there.

    alpha 0.1 and penalty 0.01 are the README's for CIFAR-100-LT (its configuration file says penalty 0.1). Users report 52.2 and 48.9 under two seeds on
    ImageNet-LT (issue #4). Published end to end; the recipe for a head alone, from the stage-1 head, is inferred. Across processes the statistic is that
    of the gathered global batch.
    """

    name = "lade"
    family = "re-weighting"
    paper = "Hong et al., Disentangling Label Distribution for Long-tailed Visual Recognition, CVPR 2021; code hyperconnect/LADE"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    settings = {
        "imagenet_lt": {"alpha": 0.05, "penalty": 0.5},
        "inat2018": {"alpha": 0.05, "penalty": 0.5},
        "places_lt": {"alpha": 0.005, "penalty": 0.1},
    }
    grid = {"lr": (0.001, 0.01, 0.1)}
    stackable = True
    needs_whole_batch = True

    alpha: float = hyper(0.1, low=0, high=100, grid=(0.005, 0.05, 0.1), help="strength of the regulariser")
    penalty: float = hyper(0.01, low=0, high=100, grid=(0.01, 0.1, 0.5), help="lambda of the paper")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.prior = nn.Buffer(self.class_counts / self.class_counts.sum(), persistent=False)

    @shift
    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """z + log pi."""
        return logits + (self.prior + SMALL).log().to(logits)

    def batch_statistic(self, logits: Tensor, labels: Tensor) -> Tensor:
        """alpha LADER, a scalar, of logits (B, K) and labels (B,)."""
        z = at_least_float32(logits)
        B, K = z.shape[-2:]
        prior, index = self.prior.to(z), labels.expand(z.shape[:-1])
        true = z.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        zeros = torch.zeros_like(z[..., 0, :])
        present = zeros.scatter_add(-1, index, torch.ones_like(true))
        first = zeros.scatter_add(-1, index, true) / (present + 1e-8)
        offset = math.log(1 / K + SMALL) - (prior + SMALL).log()
        second = torch.logsumexp(z + offset, dim=-2) - math.log(B)
        statistic = (prior * (first - second - of_head(self.penalty, z, 1) * second**2)).sum(-1)
        return -of_head(self.alpha, z) * statistic
