"""Generalised re-weighting."""

from __future__ import annotations

from typing import Literal

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.weights import Inverse


class GRW(Strategy):
    """Cross-entropy weighted by a power of the inverse frequency, the loss under DisAlign and MARC, here on weight and bias.

    ``l_i = w_y * CE(z_i, y)``, ``w_c = (1 / pi_c)^rho`` scaled to sum to K, the batch reduced by its sum of weights (microsoft/robustlearn
    ``marc/loss/GRWLoss.py``). rho 0 is cross-entropy, 1 the inverse frequency; 1.2 over-corrects.

    The loss is published for a calibration layer on a frozen classifier (``disalign``, ``marc``); the recipe for the classifier itself is inferred.
    """

    name = "grw"
    family = "re-weighting"
    paper = "Zhang et al., Distribution Alignment, CVPR 2021, eq. 8; code Megvii-BaseDetection/DisAlign, microsoft/robustlearn"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}
    stackable = True

    rho: float = hyper(1.2, low=0, high=5, grid=(0.4, 0.8, 1.2, 1.5), help="power of the inverse frequency")
    reduction: Literal["samples", "weights"] = hyper(
        "weights", help="divide the batch's loss by its sum of weights, or by its number of samples"
    )

    weighting = Inverse("rho", "reduction")
