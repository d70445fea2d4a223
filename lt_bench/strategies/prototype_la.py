"""Post-hoc logit adjustment with class means as a second opinion: a strategy of this suite."""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import nn

from lt_bench.core.inference_heads import LinearAndCosine
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_weights import log_prior
from lt_bench.strategies._lib.foreign_logits import logits_on_others
from lt_bench.strategies.contract import Facts, Strategy, check_range
from lt_bench.strategies.recipe import RecipeOptions

ROWS = 1 << 14


class PrototypeLA(Strategy):
    """The adjusted stage-1 classifier plus the cosine to the class means; closed form, one pass over the training features.

    ``z_ic - log(pi_c^tau + 1e-12) + mix * sigma * cos(h_i - mu, m_c - mu)``, m_c the mean training feature of class c, mu the mean of the m_c (so that every class
    counts the same), and sigma the mean over classes of the logit's standard deviation on other classes' samples, which makes ``mix`` a number without unit. With mix 0
    it is ``logit_adjustment``. A class without training samples has its mean at mu: cosine 0.

    The thought behind it: the rows of rare classes have seen few gradients and their logits are small, while a class mean needs few images; the means in turn miss
    what the classifier has learned to ignore. Their errors differ, and their sum is better than either. Cosine to class means is the nearest-class-mean rule of
    Kang et al. (ICLR 2020) but for the centre. Hyper-parameters were chosen on unseen validation images (docs/findings.md).

    Args:
        facts: what the data know.
        mix: weight of the cosine, in units of the spread of the logits.
        tau: strength of the adjustment.
        recipe: fields of ``Recipe``; without effect, nothing is fitted by steps.
    """

    name = "prototype_la"
    selected_on_val = True
    family = "logit adjustment"
    paper = "this suite; adjustment of Menon et al., ICLR 2021, class means of Kang et al., ICLR 2020"
    trains = "class means"
    fitting = "solve"
    settings = {"cifar10_lt": {"mix": 6.0, "tau": 2.5}}
    grid = {"mix": (0.0, 3.0, 6.0, 9.0, 12.0, 18.0), "tau": (0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 2.0, 2.5, 3.0)}

    def __init__(self, facts: Facts, *, mix: float = 9.0, tau: float = 1.2, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "mix", mix, 0.0, 1e4)
        check_range(self.name, "tau", tau, 0.0, 10.0)
        self.mix, self.tau = self.one_per_head(mix), self.one_per_head(tau)
        self.prototypes = nn.Buffer(torch.zeros(facts.num_classes, facts.dim))
        self.centre = nn.Buffer(torch.zeros(facts.dim))

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """Sums in float64; ``prototypes`` are the directions of the centred means times sigma."""
        counts = torch.bincount(train.labels, minlength=self.facts.num_classes).unsqueeze(1)
        sums = torch.zeros_like(self.prototypes, dtype=torch.float64)
        for rows, labels in zip(train.view("plain").split(ROWS), train.labels.split(ROWS), strict=True):
            sums.index_add_(0, labels, rows.double())
        means = sums / counts.clamp_min(1)
        centre = means[counts.squeeze(1) > 0].mean(0)
        directions = F.normalize(torch.where(counts > 0, means - centre, 0.0), dim=1)
        self.centre.copy_(centre)
        self.prototypes.copy_(directions * logits_on_others(self.weight[0], self.bias[0], train)[1].mean())

    def inference_head(self, head: int = 0) -> nn.Module:
        """A linear layer, its bias adjusted, and a cosine layer beside it."""
        adjustment = log_prior(self.class_counts.double(), self.tau[head]).to(self.bias.dtype)
        mix = self.mix[head].to(self.prototypes.dtype)
        return LinearAndCosine(self.weight[head], self.bias[head] - adjustment, self.prototypes * mix, self.centre)

    def per_head_classifier(self, head: int = 0) -> torch.Tensor:
        """The rows of stage 1."""
        return self.weight[head].detach()
