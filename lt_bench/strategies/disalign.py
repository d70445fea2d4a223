"""DisAlign: distribution alignment."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.core.inference_heads import ConfidenceHead
from lt_bench.strategies.contract import Facts, Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.official import Official
from lt_bench.strategies.slots.weights import Inverse


class DisAlign(Strategy):
    """DisAlign: the stage-1 logits scaled and shifted per class, as far as a learned confidence in the sample goes.

    ``l_i = w_y * CE(z'_i, y)``, ``z'_c = (1 + g_i s_c) z_c + g_i t_c``, ``g_i = sigmoid(v h_i + b)``, ``w_c = (1 / pi_c)^rho`` scaled to sum to K, the batch reduced by
    its sum of weights. W and b of z are frozen; s, t, v and b are trained.

    Paper against code: the paper mixes g (alpha z + beta) + (1 - g) z, which is the above with alpha = 1 + s; the code (cvpods ``layers/wrappers.py:450-466``)
    starts s at 1, not 0, so that at the start z' = (1 + g) z, a change of temperature. t starts at 0 and every entry of v at 0.1, as there.

    Official for ImageNet-LT only (lr 0.1, weight decay 5e-4, batch 256, 10 epochs with cosine, instance-balanced); elsewhere inferred.
    """

    name = "disalign"
    family = "logit adjustment"
    paper = "Zhang et al., Distribution Alignment: A Unified Framework for Long-tail Visual Recognition, CVPR 2021; code Megvii-BaseDetection/DisAlign"
    trains = "scale and shift per class, confidence"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=256, epochs=10)
    official = (
        Official(
            "Megvii-BaseDetection/DisAlign",
            "a2fc350",
            "classification/imagenetlt/resnext50/resx50.scratch.imagenet_lt.224size.90e.disalign.10e/config.py",
            "imagenet_lt",
        ),
    )
    grid = {"lr": (0.01, 0.1, 0.5), "epochs": (10, 30)}
    stackable = True

    rho: float = hyper(1.2, low=0, high=5, grid=(0.4, 0.8, 1.2, 1.5), help="power of the inverse frequency")
    reduction: Literal["samples", "weights"] = hyper(
        "weights", help="divide the batch's loss by its sum of weights, or by its number of samples"
    )

    weighting = Inverse("rho", "reduction")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.weight.requires_grad_(False)
        self.bias.requires_grad_(False)
        self.scale, self.shift = nn.Parameter(torch.ones_like(self.bias)), nn.Parameter(torch.zeros_like(self.bias))
        self.gate_weight = nn.Parameter(torch.full((*self.leading, facts.dim, 1), 0.1))
        self.gate_bias = nn.Parameter(torch.zeros(*self.leading, 1, 1))

    def logits(self, features: Tensor) -> Tensor:
        """z' (B, K); z is the same for all heads of a stack and made once for each batch order."""
        weight, bias = (self.weight, self.bias) if self.heads is None else (self.weight[0], self.bias[0])
        gate = torch.sigmoid(torch.matmul(self.per_head(features), self.gate_weight) + self.gate_bias)
        return self.per_head(F.linear(features, weight, bias)) * (1 + gate * self.scale.unsqueeze(-2)) + gate * self.shift.unsqueeze(-2)

    def inference_head(self) -> nn.Module:
        """Not linear: the confidence depends on the sample."""
        return ConfidenceHead(self.weight, self.bias, self.scale, self.shift, self.gate_weight.squeeze(1), self.gate_bias.squeeze())

    def classifier_rows(self) -> Tensor:
        """The rows of stage 1; how far a sample's logits are scaled depends on the sample."""
        return self.weight.detach()
