"""Focal losses, plain and class-balanced."""

from __future__ import annotations

from typing import Literal

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.kernels import SigmoidBCE
from lt_bench.strategies.slots.weights import ClassBalanced, ClassBalancedFocal, Focal


class FocalLoss(Strategy):
    """Focal loss on softmax outputs: easy samples count less.

    ``l_i = (1 - p_y)^gamma * CE(z_i, y)``, p = softmax(z_i), the factor with its gradient, mean over samples (kaidic/LDAM-DRW ``losses.py:7-21``). The long-tailed
    codes set gamma 1; pseulki/IB-Loss multiplies the loss by 10 besides, which is a learning rate 10 times higher. The class-balanced paper tries 0.5, 1 and 2.

    Published end to end; the recipe for a head alone, from the stage-1 head, is inferred.
    """

    name = "focal"
    family = "re-weighting"
    paper = "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; code kaidic/LDAM-DRW"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}
    stackable = True

    gamma: float = hyper(1.0, low=0, high=10, grid=(0.5, 1.0, 2.0), help="focusing")

    weighting = Focal("gamma")


class CBFocal(FocalLoss):
    """Focal loss with class-balanced weights.

    ``l_i = (1 - p_i)^gamma * w_y * CE(z_i, y)``, ``w_c = (1 - beta) / (1 - beta^n_c)`` scaled to sum to K, mean over samples. Paper against code: the code everyone
    copies (kaidic/LDAM-DRW ``losses.py:7-21``) computes p from the weighted loss, p_i = exp(-w_y CE), so that the weight changes the focus (``weighted``, the
    default); in the paper p is the true-class probability (``plain``). Dividing by N where ``cb`` divides by the sum of weights, its effective learning rate is
    another than that of ``cb``.

    Published end to end; the recipe for a head alone, from the stage-1 head, is inferred.
    """

    name = "cb_focal"
    paper = "Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019; code kaidic/LDAM-DRW"

    beta: float = hyper(0.9999, low=0, high=0.999999999, grid=(0.999, 0.9999), help="of the effective number")
    probability: Literal["weighted", "plain"] = hyper("weighted", help="that of the focusing factor: weighted (code) or plain (paper)")

    weighting = ClassBalancedFocal("gamma", "beta", "probability")


class CBFocalSigmoid(FocalLoss):
    """Focal loss on sigmoid outputs with class-balanced weights: the form of the class-balanced paper.

    ``l_i = w_y * sum_k (1 - p_ik)^gamma * (-log p_ik)``, p_ik = sigmoid(z_ik) for k = y and 1 - sigmoid(z_ik) elsewhere, mean over samples (vandit15's port of
    richardaecn/class-balanced-loss). As there, the classifier is new and its bias starts at -log(K - 1); that the bias escapes weight decay there is left out.

    Published end to end; the recipe for a head alone is inferred.
    """

    name = "cb_focal_sigmoid"
    paper = "Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019; code richardaecn/class-balanced-loss, vandit15's port"
    initial_head = "random_rare"

    beta: float = hyper(0.9999, low=0, high=0.999999999, grid=(0.999, 0.9999), help="of the effective number")

    kernel = SigmoidBCE("gamma")
    weighting = ClassBalanced("beta", "samples")
