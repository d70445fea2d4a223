"""Post-hoc logit adjustment with class means as a second opinion: a strategy of this suite."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.core.inference_heads import LinearAndCosine
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_means import class_means
from lt_bench.strategies._lib.class_weights import log_prior
from lt_bench.strategies._lib.foreign_logits import logits_on_others
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.hyper import hyper


class PrototypeLA(Strategy):
    """The adjusted stage-1 classifier plus the cosine to the class means; closed form, one pass over the training features.

    ``z_ic - log(pi_c^tau + 1e-12) + mix * sigma * cos(h_i - mu, m_c - mu)``, m_c the mean training feature of class c, mu the mean of the m_c (so that every class
    counts the same), and sigma the mean over classes of the logit's standard deviation on other classes' samples, which makes ``mix`` a number without unit. With mix 0
    it is ``logit_adjustment``. A class without training samples has its mean at mu: cosine 0.

    The thought behind it: the rows of rare classes have seen few gradients and their logits are small, while a class mean needs few images; the means in turn miss
    what the classifier has learned to ignore. Their errors differ, and their sum is better than either. Cosine to class means is the nearest-class-mean rule of
    Kang et al. (ICLR 2020) but for the centre. Hyper-parameters were chosen on unseen validation images (docs/findings.md).
    """

    name = "prototype_la"
    selected_on_val = True
    family = "logit adjustment"
    paper = "this suite; adjustment of Menon et al., ICLR 2021, class means of Kang et al., ICLR 2020"
    trains = "class means"
    fitting = "solve"
    settings = {"cifar10_lt": {"mix": 6.0, "tau": 2.5}}
    grid = {"mix": (0.0, 3.0, 6.0, 9.0, 12.0, 18.0), "tau": (0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 2.0, 2.5, 3.0)}

    mix: float = hyper(9.0, low=0, high=1e4, help="weight of the cosine, in units of the spread of the logits")
    tau: float = hyper(1.2, low=0, high=10, help="strength of the adjustment")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.prototypes = nn.Buffer(torch.zeros(facts.num_classes, facts.dim))
        self.centre = nn.Buffer(torch.zeros(facts.dim))

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """Sums in float64; ``prototypes`` are the directions of the centred means times sigma."""
        means, counts = class_means(train, self.facts.num_classes)
        centre = means[counts > 0].mean(0)
        directions = F.normalize(torch.where(counts.unsqueeze(1) > 0, means - centre, 0.0), dim=1)
        self.centre.copy_(centre)
        self.prototypes.copy_(directions * logits_on_others(self.weight, self.bias, train)[1].mean())

    def inference_head(self) -> nn.Module:
        """A linear layer, its bias adjusted, and a cosine layer beside it."""
        adjustment = log_prior(self.class_counts.double(), self.tau).to(self.bias)
        return LinearAndCosine(self.weight, self.bias - adjustment, self.prototypes * self.mix, self.centre)

    def classifier_rows(self) -> Tensor:
        """The rows of stage 1."""
        return self.weight.detach()
