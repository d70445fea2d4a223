"""Post-hoc logit adjustment on logits of equal spread: a strategy of this suite."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import nn

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_weights import log_prior
from lt_bench.strategies._lib.foreign_logits import logits_on_others
from lt_bench.strategies.contract import Facts, Strategy, check_range, linear_head
from lt_bench.strategies.recipe import RecipeOptions


class StandardisedLA(Strategy):
    """The stage-1 classifier with its logits brought closer to equal mean and spread, then adjusted by the log prior; closed form, one pass over the training features.

    ``(z_ic - shift mu_c) / r_c^power - log(pi_c^tau + 1e-12)``, ``r_c = sigma_c / mean sigma``; mu_c and sigma_c are mean and standard deviation of
    ``w_c h + b_c`` over the training samples of all other classes. With shift and power 0 it is ``logit_adjustment``, and like it a linear layer.

    The thought behind it: a class wins a foreign image when its logit happens to be large there, so one whose logit lies high or spreads widely on foreign images
    wins too many; head classes have the wider spread. A bias cannot mend the spread, as it moves every image alike; tau_norm divides by the length of the row
    instead, which is the spread only where features are isotropic. Hyper-parameters were chosen on unseen validation images (docs/findings.md).

    Args:
        facts: what the data know.
        power: of the spread; 0 leaves it, 1 makes all spreads equal.
        shift: share of the mean that is taken off.
        tau: strength of the adjustment.
        recipe: fields of ``Recipe``; without effect, nothing is fitted by steps.
    """

    name = "standardised_la"
    selected_on_val = True
    family = "logit adjustment"
    paper = "this suite; adjustment of Menon et al., Long-tail learning via logit adjustment, ICLR 2021"
    trains = "a scale and a shift per class"
    fitting = "solve"
    settings = {"cifar10_lt": {"tau": 1.2}}
    grid = {"power": (0.0, 0.25, 0.5, 0.75, 1.0), "shift": (0.0, 0.5, 1.0), "tau": (0.2, 0.4, 0.6, 0.7, 0.8, 1.0, 1.2, 1.6, 2.0, 2.5)}

    def __init__(self, facts: Facts, *, power: float = 0.75, shift: float = 0.5, tau: float = 0.7, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "power", power, 0.0, 2.0)
        check_range(self.name, "shift", shift, -10.0, 10.0)
        check_range(self.name, "tau", tau, 0.0, 10.0)
        self.power, self.shift, self.tau = (self.one_per_head(value) for value in (power, shift, tau))
        self.mean = nn.Buffer(torch.zeros(facts.num_classes, dtype=torch.float64))
        self.spread_of_class = nn.Buffer(torch.ones(facts.num_classes, dtype=torch.float64))

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """Means and spreads, the same for all heads."""
        mean, spread = logits_on_others(self.weight[0], self.bias[0], train)
        self.mean.copy_(mean)
        self.spread_of_class.copy_(spread)

    def inference_head(self, head: int = 0) -> nn.Module:
        """Linear; scale, shift and adjustment folded in."""
        spread = self.spread_of_class.double()
        scale = (spread / spread.mean()) ** -self.power[head]
        bias = (self.bias[head].double() - self.shift[head] * self.mean) * scale - log_prior(self.class_counts.double(), self.tau[head])
        weight = self.weight[head].detach()
        return linear_head(weight * scale.to(weight).unsqueeze(1), bias.detach().to(weight))
