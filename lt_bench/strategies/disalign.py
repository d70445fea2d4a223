"""DisAlign: distribution alignment."""

from __future__ import annotations

from typing import Literal, Unpack

import torch
from torch import Tensor, nn

from lt_bench.core.inference_heads import ConfidenceHead
from lt_bench.strategies._lib.calibration_layer import CalibrationLayer
from lt_bench.strategies.contract import Facts
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class DisAlign(CalibrationLayer):
    """DisAlign: the stage-1 logits scaled and shifted per class, as far as a learned confidence in the sample goes.

    ``l_i = w_y * CE(z'_i, y)``, ``z'_c = (1 + g_i s_c) z_c + g_i t_c``, ``g_i = sigmoid(v h_i + b)``, ``w_c = (1 / pi_c)^rho`` scaled to sum to K, the batch reduced by
    its sum of weights. W and b of z are frozen; s, t, v and b are trained.

    Paper against code: the paper mixes g (alpha z + beta) + (1 - g) z, which is the above with alpha = 1 + s; the code (cvpods ``layers/wrappers.py:450-466``)
    starts s at 1, not 0, so that at the start z' = (1 + g) z, a change of temperature. t starts at 0 and every entry of v at 0.1, as there.

    Official for ImageNet-LT only (lr 0.1, weight decay 5e-4, batch 256, 10 epochs with cosine, instance-balanced); elsewhere inferred.

    Args:
        facts: what the data know.
        rho: power of the inverse frequency.
        reduction: divide the batch's loss by the sum of its ``weights``, or by its number of ``samples``.
        recipe: fields of ``Recipe``.
    """

    name = "disalign"
    family = "logit adjustment"
    paper = "Zhang et al., Distribution Alignment: A Unified Framework for Long-tail Visual Recognition, CVPR 2021; code Megvii-BaseDetection/DisAlign"
    trains = "scale and shift per class, confidence"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=256, epochs=10)
    official = ("imagenet_lt",)
    grid = {"rho": (0.4, 0.8, 1.2, 1.5), "lr": (0.01, 0.1, 0.5), "epochs": (10, 30)}

    def __init__(
        self, facts: Facts, *, rho: float = 1.2, reduction: Literal["samples", "weights"] = "weights", **recipe: Unpack[RecipeOptions]
    ) -> None:
        super().__init__(facts, rho=rho, reduction=reduction, **recipe)
        self.gate_weight = nn.Parameter(torch.full((self.heads, facts.dim, 1), 0.1))
        self.gate_bias = nn.Parameter(torch.zeros(self.heads, 1, 1))

    def logits(self, features: Tensor) -> Tensor:
        """z' (H, B, K)."""
        gate = torch.sigmoid(torch.matmul(self.spread(features), self.gate_weight) + self.gate_bias)
        return self.frozen_logits(features) * (1 + gate * self.scale.unsqueeze(1)) + gate * self.shift.unsqueeze(1)

    def inference_head(self, head: int = 0) -> nn.Module:
        """Not linear: the confidence depends on the sample."""
        gate_weight, gate_bias = self.gate_weight[head].squeeze(1), self.gate_bias[head].squeeze()
        return ConfidenceHead(self.weight[head], self.bias[head], self.scale[head], self.shift[head], gate_weight, gate_bias)

    def per_head_classifier(self, head: int = 0) -> Tensor:
        """The rows of stage 1; how far a sample's logits are scaled depends on the sample."""
        return self.weight[head].detach()
