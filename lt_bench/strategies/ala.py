"""Adaptive logit adjustment."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.classifiers import Cosine
from lt_bench.strategies.slots.transforms import Adaptive


class ALA(Strategy):
    """ALA: a margin on the true cosine that grows with the rarity of its class and with the difficulty of the sample.

    ``l_i = CE(T(z_i), y)``, z = s cos(h, w_c), ``T(z)_y = z_y - s d_y (1 - z_y / s) / 2``, ``d_c = log 2 / log(n_c / n_min + 1)``, the margin a constant for the gradient. A sample at the
    right direction has none, one at the opposite has s d_y. Inference is without it.

    Read in liming-ai/OpenLT ``model/loss.py`` (ALALoss, s 30), a re-implementation; the authors released no code. Published end to end; on frozen features it is adapted: the
    directions of the stage-1 rows start it, and the recipe is inferred.
    """

    name = "ala"
    family = "logit adjustment"
    paper = "Zhao et al., Adaptive Logit Adjustment Loss for Long-Tailed Visual Recognition, AAAI 2022; code liming-ai/OpenLT 52a0dc2 (a re-implementation)"
    trains = "directions of the weight rows"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}
    stackable = True

    scale: float = hyper(
        30.0, low=1e-3, high=1e3, grid=(10.0, 30.0), help="s, part of the logits in training, at inference and in every metric"
    )

    classifier = Cosine("scale")
    transform = Adaptive("scale")
