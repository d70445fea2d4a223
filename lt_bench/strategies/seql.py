"""Softmax equalization loss."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.transforms import Equalise


class SEQL(Strategy):
    """SEQL: rare classes are left out of the denominator of other classes' samples, at random.

    ``l_i = -log(exp(z_y) / sum_k w_ik exp(z_k))``, ``w_ik = 1 - beta_ik 1[pi_k < threshold] (1 - e_yk)``, beta_ik 1 with probability gamma, drawn anew for every
    sample and class; as a transform, T(z)_k = z_k + log w_ik. zhangyongshun/BagofTricks-LT has gamma 0.9 and threshold 0.005 for CIFAR-100-LT; the survey of
    Zhang et al. 0.00043 on ImageNet-LT. With pi_k above the threshold for all k, as with 0.005 on balanced data, it is cross-entropy.

    Published end to end; the recipe for a head alone, from the stage-1 head, is inferred.
    """

    name = "seql"
    family = "re-weighting"
    paper = "Tan et al., Equalization Loss for Long-Tailed Object Recognition, CVPR 2020; code zhangyongshun/BagofTricks-LT (SEQL)"
    capturable = False
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    settings = {"imagenet_lt": {"threshold": 0.00043}}
    grid = {"lr": (0.001, 0.01, 0.1)}
    stackable = True

    gamma: float = hyper(0.9, low=0, high=1, grid=(0.5, 0.9), help="probability of leaving a rare class out")
    threshold: float = hyper(0.005, low=0, high=1, grid=(0.0015, 0.005, 0.015), help="training frequency below which a class is rare")

    transform = Equalise("gamma", "threshold")
