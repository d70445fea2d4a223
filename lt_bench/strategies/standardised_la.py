"""Post-hoc logit adjustment on logits of equal spread: a strategy of this suite."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_weights import log_prior
from lt_bench.strategies._lib.foreign_logits import logits_on_others
from lt_bench.strategies._lib.tensors import linear_head
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.hyper import hyper


class StandardisedLA(Strategy):
    """The stage-1 classifier with its logits brought closer to equal mean and spread, then adjusted by the log prior; closed form, one pass over the training features.

    ``(z_ic - shift mu_c) / r_c^power - log(pi_c^tau + 1e-12)``, ``r_c = sigma_c / mean sigma``; mu_c and sigma_c are mean and standard deviation of
    ``w_c h + b_c`` over the training samples of all other classes. With shift and power 0 it is ``logit_adjustment``, and like it a linear layer.

    The thought behind it: a class wins a foreign image when its logit happens to be large there, so one whose logit lies high or spreads widely on foreign images
    wins too many; head classes have the wider spread. A bias cannot mend the spread, as it moves every image alike; tau_norm divides by the length of the row
    instead, which is the spread only where features are isotropic. Hyper-parameters were chosen on unseen validation images (docs/findings.md).
    """

    name = "standardised_la"
    selected_on_val = True
    family = "logit adjustment"
    paper = "this suite; adjustment of Menon et al., Long-tail learning via logit adjustment, ICLR 2021"
    trains = "a scale and a shift per class"
    fitting = "solve"
    settings = {"cifar10_lt": {"tau": 1.2}}
    grid = {"power": (0.0, 0.25, 0.5, 0.75, 1.0), "shift": (0.0, 0.5, 1.0), "tau": (0.2, 0.4, 0.6, 0.7, 0.8, 1.0, 1.2, 1.6, 2.0, 2.5)}

    power: float = hyper(0.75, low=0, high=2, help="of the spread; 0 leaves it, 1 makes all spreads equal")
    shift: float = hyper(0.5, low=-10, high=10, help="share of the mean that is taken off")
    tau: float = hyper(0.7, low=0, high=10, help="strength of the adjustment")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.mean = nn.Buffer(torch.zeros(facts.num_classes, dtype=torch.float64))
        self.deviation = nn.Buffer(torch.ones(facts.num_classes, dtype=torch.float64))

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """Means and standard deviations of the logits."""
        mean, deviation = logits_on_others(self.weight, self.bias, train)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def inference_head(self) -> nn.Module:
        """Linear; scale, shift and adjustment folded in."""
        deviation, weight = self.deviation.double(), self.weight.detach()
        scale = (deviation / deviation.mean()) ** -torch.as_tensor(self.power, dtype=torch.float64)
        bias = (self.bias.detach().double() - self.shift * self.mean) * scale - log_prior(self.class_counts.double(), self.tau)
        return linear_head(weight * scale.to(weight).unsqueeze(1), bias.to(weight))
