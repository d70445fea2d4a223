"""Multiplicative logit adjustment."""

from __future__ import annotations

from typing import Unpack

from torch import nn

from lt_bench.strategies.contract import Facts, Strategy, check_range, linear_head
from lt_bench.strategies.recipe import RecipeOptions


class MultiplicativeLA(Strategy):
    """The stage-1 classifier with every logit multiplied by a power of its class's rarity; nothing is fitted.

    ``z_ic * pi_c^-tau``, pi the training frequencies (a class without samples counts as one), bias included; folded into W and b. The official factor is used as it
    is (HN410/Exploring-Weight-Balancing ``utils/model_units.py`` LogitAdjuster), so logits grow by up to pi_min^-tau and the softmax saturates: the arg max is meant,
    not the probabilities. tau 0.65 on CIFAR-100-LT and 1.6 on CIFAR-10-LT (``jsons/``) belong to a stage 1 with a fixed simplex classifier, weight decay 5e-3 and
    feature regularisation 0.01; on an ordinary stage 1 tau is far smaller.

    Args:
        facts: what the data know.
        tau: exponent, 0 leaves the head as it is.
        recipe: fields of ``Recipe``; without effect, nothing is fitted.
    """

    name = "multiplicative_la"
    family = "parameter regularisation"
    paper = "Hasegawa and Sato, Exploring Weight Balancing on Long-Tailed Recognition Problem, ICLR 2024; code HN410/Exploring-Weight-Balancing-on-Long-Tailed-Recognition-Problem"
    trains = "nothing"
    fitting = "none"
    official = ("cifar100_lt@100", "cifar10_lt@100")
    settings = {"cifar10_lt": {"tau": 1.6}}
    grid = {"tau": (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.3, 1.6)}

    def __init__(self, facts: Facts, *, tau: float = 0.65, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "tau", tau, 0.0, 10.0)
        self.tau = self.one_per_head(tau)

    def inference_head(self, head: int = 0) -> nn.Module:
        """Linear, rows and bias scaled."""
        counts = self.class_counts.double().clamp_min(1)
        factor = ((counts / counts.sum()) ** -self.tau[head]).to(self.weight.dtype)
        return linear_head(self.weight[head].detach() * factor.unsqueeze(1), self.bias[head].detach() * factor)
