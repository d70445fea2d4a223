"""Gaussian clouded logits."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from lt_bench.strategies._lib.class_weights import kept, over_samples
from lt_bench.strategies._lib.cosine import CosineStrategy, less_on_true
from lt_bench.strategies._lib.cross_entropy import constant, shift
from lt_bench.strategies._lib.focal import focusing
from lt_bench.strategies.contract import Facts, check_range
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class GCL(CosineStrategy):
    """GCL: scaled cosines lowered by noise that is larger for rarer classes, re-trained on class-balanced batches.

    ``l_i = (1 - p_i)^gamma * CE(T(z_i), y)``, z = s cos(h, w_c), ``T(z)_c = z_c - s (noise |e_ic| d_c + margin e_yc)``,
    ``d_c = (log n_max - log n_c) / (log n_max - log n_min)``, e ~ N(0, 1/9) with |e| at most 1, drawn for every sample and class; p_i = exp(-CE) is a constant
    for the gradient (Keke921/GCLLoss ``losses.py:53-83``, ``train_cls=True``). With equal class counts d is 0 / 0 and taken as 0. Inference is without noise.

    The settings are those of the code's second stage (``cifar_train_classifier.py``): margin 0.1, s 20, gamma 1, batch 64, weight decay 2e-4, 30 epochs, and the rate
    it really uses for ``--lr 0.1``, 0.002. Paper against code: the paper's sampler is an effective-number one, the code's default draws every class equally
    often, as here. Left out: mixup, which the code applies to images (its ``--mixup False`` still means True) and which on a cache would be another method; and
    the cosine classifier of its first stage, for which the directions of the stage-1 rows stand in. Hence inferred.

    Args:
        facts: what the data know.
        noise: strength of the cloud.
        margin: taken from the true class, in cosine.
        scale: s.
        gamma: focusing, 0 for none.
        recipe: fields of ``Recipe``.
    """

    name = "gcl"
    family = "logit adjustment"
    paper = "Li et al., Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment, CVPR 2022; code Keke921/GCLLoss"
    sampler = "class_balanced"
    trains = "directions of the weight rows"
    capturable = False
    recipe = Recipe(lr=0.002, weight_decay=2e-4, batch_size=64, epochs=30)
    grid = {"noise": (0.0, 0.5, 1.0), "scale": (10.0, 20.0), "lr": (0.002, 0.1)}

    def __init__(
        self,
        facts: Facts,
        *,
        noise: float = 0.5,
        margin: float = 0.1,
        scale: float = 20.0,
        gamma: float = 1.0,
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, scale=scale, **recipe)
        for name, value, high in (("noise", noise, 10.0), ("margin", margin, 2.0), ("gamma", gamma, 10.0)):
            check_range(self.name, name, value, 0.0, high)
        rarity = (self.class_counts.max() / self.class_counts.clamp_min(1)).log()
        spread = rarity / rarity.max() if rarity.max() > 0 else torch.zeros_like(rarity)
        self.cloud = nn.Buffer(noise * spread, persistent=False)
        self.margin, self.gamma = kept(margin), kept(gamma)

    @shift
    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The noise taken from every logit and the margin from the true one, both times s."""
        scale = self.scale.unsqueeze(-1) if isinstance(self.scale, Tensor) else self.scale
        drawn = (self.draws.normal(logits) / 3).abs().clamp_max(1)
        clouded = logits - scale * drawn * over_samples(self.cloud).to(logits)
        return less_on_true(clouded, labels, torch.as_tensor(self.scale * self.margin, dtype=logits.dtype, device=logits.device))

    @constant
    def focus(self, logits: Tensor, labels: Tensor, features: Tensor | None) -> Tensor:
        """(1 - p)^gamma, a constant for the gradient."""
        return focusing(self.kernel(logits, labels).detach(), self.gamma)
