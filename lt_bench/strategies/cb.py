"""Class-balanced cross-entropy."""

from __future__ import annotations

from typing import Literal, Unpack

from lt_bench.strategies._lib.class_weights import effective_number_weights, sum_to_classes
from lt_bench.strategies.contract import Facts, Strategy, check_range
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class CB(Strategy):
    """Cross-entropy weighted by the inverse effective number of samples.

    ``l_i = w_y * CE(z_i, y)``, ``w_c = (1 - beta) / (1 - beta^n_c)`` scaled to sum to K. The batch is reduced as torch's weighted mean, by the sum of weights
    (kaidic/LDAM-DRW ``cifar_train.py:192-198``); under ``samples`` the gradient is smaller by the mean weight of the training set (0.20 on CIFAR-100-LT IF 100),
    so a learning rate carries over divided by it.

    The paper trains end to end with a class-balanced *sigmoid* or focal loss; the softmax form is what the field runs. The fitting of a head alone is adapted:
    SGD as there (lr 0.1, weight decay 2e-4, batch 128) for 30 epochs with cosine, from the stage-1 head, is inferred.

    Args:
        facts: what the data know.
        beta: 0.9, 0.99, 0.999 or 0.9999 in the paper.
        reduction: divide the batch's loss by the sum of its ``weights``, or by its number of ``samples``.
        recipe: fields of ``Recipe``.
    """

    name = "cb"
    family = "re-weighting"
    paper = "Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019; code kaidic/LDAM-DRW"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.0003, 0.001, 0.01), "beta": (0.999, 0.9999, 0.99999), "weight_decay": (2e-4, 5e-3)}

    def __init__(
        self, facts: Facts, *, beta: float = 0.9999, reduction: Literal["samples", "weights"] = "weights", **recipe: Unpack[RecipeOptions]
    ) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "beta", beta, 0.0, 1 - 1e-9)
        self.reduction = reduction
        self.class_weight = sum_to_classes(effective_number_weights(self.class_counts, beta))
