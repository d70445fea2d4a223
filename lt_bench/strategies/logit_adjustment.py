"""Post-hoc logit adjustment."""

from __future__ import annotations

from typing import Unpack

from torch import nn

from lt_bench.strategies._lib.class_weights import log_prior
from lt_bench.strategies.contract import Facts, Strategy, check_range, linear_head
from lt_bench.strategies.recipe import RecipeOptions


class LogitAdjustment(Strategy):
    """The stage-1 classifier with the log prior subtracted at inference; nothing is fitted.

    ``z_ic - log(pi_c^tau + 1e-12)``, pi the training frequencies; folded into the bias. The column reading of LoMa cannot see it, being blind to biases.

    Args:
        facts: what the data know.
        tau: 1 is the official default and Bayes-optimal for the balanced error if stage 1 were calibrated.
        recipe: fields of ``Recipe``; without effect, nothing is fitted.
    """

    name = "logit_adjustment"
    family = "logit adjustment"
    paper = "Menon et al., Long-tail learning via logit adjustment, ICLR 2021, eq. 9; code google-research/logit_adjustment"
    trains = "nothing"
    fitting = "none"
    official = ("cifar10_lt", "cifar100_lt", "imagenet_lt", "inat2018")
    grid = {"tau": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0)}

    def __init__(self, facts: Facts, *, tau: float = 1.0, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "tau", tau, 0.0, 10.0)
        self.tau = self.one_per_head(tau)

    def inference_head(self, head: int = 0) -> nn.Module:
        """Linear, the adjustment folded into the bias."""
        adjustment = log_prior(self.class_counts, self.tau[head]).to(self.bias.dtype)
        return linear_head(self.weight[head].detach(), self.bias[head].detach() - adjustment)
