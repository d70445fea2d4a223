"""Generalised re-weighting."""

from __future__ import annotations

from typing import Literal, Unpack

from lt_bench.strategies._lib.class_weights import inverse_power_weights
from lt_bench.strategies.contract import Facts, Strategy, check_range
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class GRW(Strategy):
    """Cross-entropy weighted by a power of the inverse frequency, the loss under DisAlign and MARC, here on weight and bias.

    ``l_i = w_y * CE(z_i, y)``, ``w_c = (1 / pi_c)^rho`` scaled to sum to K, the batch reduced by its sum of weights (microsoft/robustlearn
    ``marc/loss/GRWLoss.py``). rho 0 is cross-entropy, 1 the inverse frequency; 1.2 over-corrects.

    The loss is published for a calibration layer on a frozen classifier (``disalign``, ``marc``); the recipe for the classifier itself is inferred.

    Args:
        facts: what the data know.
        rho: power of the inverse frequency.
        reduction: divide the batch's loss by the sum of its ``weights``, or by its number of ``samples``.
        recipe: fields of ``Recipe``.
    """

    name = "grw"
    family = "re-weighting"
    paper = "Zhang et al., Distribution Alignment, CVPR 2021, eq. 8; code Megvii-BaseDetection/DisAlign, microsoft/robustlearn"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"rho": (0.4, 0.8, 1.2, 1.5), "lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}

    def __init__(
        self, facts: Facts, *, rho: float = 1.2, reduction: Literal["samples", "weights"] = "weights", **recipe: Unpack[RecipeOptions]
    ) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "rho", rho, 0.0, 5.0)
        self.reduction = reduction
        self.class_weight = inverse_power_weights(self.class_counts, rho)
