"""Class-balanced cross-entropy."""

from __future__ import annotations

from typing import Literal

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.weights import ClassBalanced


class CB(Strategy):
    """Cross-entropy weighted by the inverse effective number of samples.

    ``l_i = w_y * CE(z_i, y)``, ``w_c = (1 - beta) / (1 - beta^n_c)`` scaled to sum to K. The batch is reduced as torch's weighted mean, by the sum of weights
    (kaidic/LDAM-DRW ``cifar_train.py:192-198``); under ``samples`` the gradient is smaller by the mean weight of the training set (0.20 on CIFAR-100-LT IF 100),
    so a learning rate carries over divided by it.

    The paper trains end to end with class-balanced softmax, sigmoid and focal losses; its softmax (TensorFlow) divides the batch by its number of samples, as ``samples``. The fitting of a head alone is adapted:
    SGD as there (lr 0.1, weight decay 2e-4, batch 128) for 30 epochs with cosine, from the stage-1 head, is inferred.
    """

    name = "cb"
    family = "re-weighting"
    paper = "Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019; code kaidic/LDAM-DRW"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.0003, 0.001, 0.01), "beta": (0.999, 0.9999, 0.99999), "weight_decay": (2e-4, 5e-3)}
    stackable = True

    beta: float = hyper(
        0.9999,
        low=0,
        high=0.999999999,
        help="of the effective number; 0.9, 0.99, 0.999 or 0.9999 in the paper",
    )
    reduction: Literal["samples", "weights"] = hyper(
        "weights", help="divide the batch's loss by its sum of weights, or by its number of samples"
    )

    weighting = ClassBalanced("beta", "reduction")
