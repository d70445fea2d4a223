"""Label-aware smoothing."""

from __future__ import annotations

import math
from typing import Literal, Unpack

import torch
from torch import Tensor, nn

from lt_bench.strategies.contract import Facts, Strategy, check_range, linear_head, per_class, stacked_linear
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class LAS(Strategy):
    """LAS: targets smoothed more for larger classes; the second stage of MiSLAS.

    ``l_i = -sum_k q_k log softmax(z_i)_k``, ``z_c = s_c (w_c h + b_c)``, q_y = 1 - e_y + e_y / K and e_y / K elsewhere,
    ``e_c = tail + (head - tail) f(x_c)``, x = (n_c - n_min) / (n_max - n_min), f = sin(pi x / 2) (``concave``), x or 1 - cos(pi x / 2) (``convex``). Paper against code:
    the paper spreads e_y over the other K - 1 classes; the code (dvlab-research/MiSLAS ``methods.py:31-64``), as here, over all K (author, issue #4). With equal
    class counts x is 0 / 0 and taken as 0.

    Both the scales s (from 1) and the classifier (from stage 1) are trained, the classifier at ``lr * lr_factor``, on class-aware batches, 10 epochs with cosine;
    weight decay acts on s too. Official for the CIFAR, ImageNet-LT, iNaturalist and Places-LT settings, on a mixup stage 1, and with BatchNorm statistics moving but
    on CIFAR-10-LT; here features are frozen.

    Args:
        facts: what the data know.
        smooth_head: epsilon of the largest class.
        smooth_tail: epsilon of the smallest class.
        shape: of epsilon between them.
        lr_factor: learning rate of weight and bias over that of the scales.
        recipe: fields of ``Recipe``.
    """

    name = "las"
    family = "label softening"
    paper = "Zhong et al., Improving Calibration for Long-Tailed Recognition, CVPR 2021; code dvlab-research/MiSLAS"
    sampler = "class_aware"
    trains = "weight, bias and a scale per class"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=10)
    official = (
        "cifar10_lt@100", "cifar10_lt@50", "cifar10_lt@10", "cifar100_lt@100", "cifar100_lt@50", "cifar100_lt@10",
        "imagenet_lt", "inat2018", "places_lt",
    )  # fmt: skip
    settings = {
        "cifar10_lt@100": {"smooth_head": 0.3, "smooth_tail": 0.0, "lr_factor": 0.5},
        "cifar10_lt@50": {"smooth_head": 0.2, "smooth_tail": 0.0, "lr_factor": 0.2},
        "cifar10_lt@10": {"smooth_head": 0.1, "smooth_tail": 0.0, "lr_factor": 0.2},
        "cifar100_lt@50": {"smooth_head": 0.3, "smooth_tail": 0.0, "lr_factor": 0.1},
        "cifar100_lt@10": {"smooth_head": 0.2, "smooth_tail": 0.0, "lr_factor": 0.1},
        "imagenet_lt": {"smooth_head": 0.3, "smooth_tail": 0.0, "lr_factor": 0.05, "weight_decay": 5e-4, "batch_size": 256},
        "inat2018": {"smooth_head": 0.3, "smooth_tail": 0.0, "lr_factor": 0.05, "weight_decay": 1e-4, "batch_size": 256},
        "places_lt": {"lr_factor": 0.05, "weight_decay": 5e-4, "batch_size": 256},
    }
    grid = {"smooth_head": (0.2, 0.4, 0.6), "lr_factor": (0.0, 0.05, 0.2, 1.0), "lr": (0.01, 0.1), "weight_decay": (2e-4, 5e-3)}

    def __init__(
        self,
        facts: Facts,
        *,
        smooth_head: float = 0.4,
        smooth_tail: float = 0.1,
        shape: Literal["concave", "linear", "convex"] = "concave",
        lr_factor: float = 0.2,
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, **recipe)
        for name, value in (("smooth_head", smooth_head), ("smooth_tail", smooth_tail)):
            check_range(self.name, name, value, 0.0, 1.0)
        check_range(self.name, "lr_factor", lr_factor, 0.0, 100.0)
        span = self.class_counts.max() - self.class_counts.min()
        x = (self.class_counts - self.class_counts.min()) / span if span > 0 else torch.zeros_like(self.class_counts)
        curve = {"concave": torch.sin(math.pi / 2 * x), "linear": x, "convex": 1 - torch.cos(math.pi / 2 * x)}[shape]
        self.epsilon = nn.Buffer(smooth_tail + (smooth_head - smooth_tail) * curve, persistent=False)
        self.lr_factor = tuple(self.one_per_head(lr_factor).tolist())
        self.scale = nn.Parameter(torch.ones_like(self.bias))

    def relative_rates(self) -> dict[Tensor, tuple[float, ...]]:
        """Weight and bias learn at ``lr_factor`` times the rate of the scales."""
        return {self.weight: self.lr_factor, self.bias: self.lr_factor}

    def logits(self, features: Tensor) -> Tensor:
        """s (W h + b) (H, B, K)."""
        return stacked_linear(features, self.weight, self.bias) * self.scale.unsqueeze(1)

    def smoothing(self, labels: Tensor) -> Tensor:
        """Epsilon of each sample's class."""
        return per_class(self.epsilon.to(self.scale.dtype), labels)

    def inference_head(self, head: int = 0) -> nn.Module:
        """Linear, the scales folded in."""
        scale = self.scale[head].detach()
        return linear_head(self.weight[head].detach() * scale.unsqueeze(1), self.bias[head].detach() * scale)
