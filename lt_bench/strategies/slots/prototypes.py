"""A fitted head joined by the stage-1 head and scatter prototypes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lt_bench.core.inference_heads import LinearAndCosine
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_weights import log_prior
from lt_bench.strategies._lib.foreign_logits import logits_on_others
from lt_bench.strategies._lib.scatter import POWER, scatter_prototypes
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import assign
from lt_bench.strategies.slots.inference import AtInference


class ScatterPrototypes(AtInference):
    """``own z / s + z0_c / (r^(1 - power) r_c^power) + mix v_c u - tau log pi_c``: the fitted logits z, those of stage 1, z0, and scatter prototypes.

    r_c is the standard deviation of z0_c on training images of other classes, r their mean, s the mean of those of z; u and v are those of ``scatter_prototypes``.
    Each part thus has unit spread before it is weighted. Without a stage-1 head its term is absent. Ours.
    """

    slot = "at_inference"
    name = "scatter_prototypes"
    changes_rows = True
    needs_train = True
    own: float = hyper(1.0, low=0, high=1e4, help="weight of the fitted logits; 0 leaves them out")
    power: float = hyper(0.75, low=0, high=2, help="of a class's own spread in what its stage-1 logits are divided by")
    mix: float = hyper(0.5, low=0, high=1e4, help="weight of the prototypes")
    tau: float = hyper(0.6, low=0, high=10, help="strength of the prior that is taken off")
    ridge: float = hyper(0.03, low=1e-9, high=1e6, help="part of the mean variance that is added to the scatter")

    def prepare(self, class_counts: Tensor) -> None:
        """The prior; nothing is learned yet."""
        assign(self, "prior", log_prior(class_counts, self.tau))
        self.scale, self.stage1, self.prototypes, self.centre = 1.0, None, None, None

    def learn_train(self, weight: Tensor, bias: Tensor, train: FeatureSource) -> None:
        """Spreads and prototypes."""
        self.scale = float(logits_on_others(weight, bias, train)[1].mean())
        self.centre, self.prototypes = scatter_prototypes(train, len(weight), float(self.ridge))
        if self.facts.head is not None:
            stage1 = (self.facts.head.weight.to(weight), self.facts.head.bias.to(bias))
            deviation = logits_on_others(*stage1, train)[1]
            divisor = (deviation.mean() ** (1 - self.power) * deviation**self.power).to(weight)
            self.stage1 = (stage1[0] / divisor.unsqueeze(1), stage1[1] / divisor)

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The linear part."""
        weight, bias = self.own / self.scale * weight, self.own / self.scale * bias - self.prior.to(bias)
        return (weight, bias) if self.stage1 is None else (weight + self.stage1[0], bias + self.stage1[1])

    def head(self, weight: Tensor, bias: Tensor) -> nn.Module:
        """The linear part, and the prototypes beside it."""
        prototypes = torch.zeros_like(weight) if self.prototypes is None else self.mix * self.prototypes.to(weight)
        centre = weight.new_zeros(weight.shape[1]) if self.centre is None else self.centre.to(weight)
        return LinearAndCosine(*self.folded(weight, bias), prototypes, centre, POWER)

    prior: Tensor
    scale: float
    stage1: tuple[Tensor, Tensor] | None
    prototypes: Tensor | None
    centre: Tensor | None
