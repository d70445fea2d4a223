"""Weight balancing: class-balanced loss, strong weight decay and MaxNorm."""

from __future__ import annotations

from typing import Literal

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.official import Official
from lt_bench.strategies.slots.kernels import SoftmaxBCE
from lt_bench.strategies.slots.projections import MaxNorm
from lt_bench.strategies.slots.weights import ClassBalanced


class WeightBalancing(Strategy):
    """Class-balanced re-training of the stage-1 head under strong weight decay, rows kept in a ball.

    ``l_i = w_y * kernel(z_i, y)`` with ``w_c = (1 - beta) / (1 - beta^n_c)`` scaled to sum to K, mean over samples, weight decay 0.1, and after a step
    ``w_c <- w_c * min(1, r / ||w_c||)`` with one radius r = min ||w|| + threshold * (max ||w|| - min ||w||) of the initial rows; the bias is free.

    Paper against code (ShadeAlsha/LTR-weight-balancing): the paper projects every iteration, the default here; the code once an epoch, when decay has made the
    rows shorter than r already, so it never acts (the author agrees the code is wrong, issue #5). The code's "softmax" loss is a binary cross-entropy of softmax
    outputs averaged over N * K, ``kernel="bce"``; the paper's is softmax cross-entropy, ``"ce"``, the default. The gradient of ``bce`` is about K times smaller,
    so weight decay 0.1 is right for it at K = 100 and its logits end within 1 % of uniform; for other K scale the decay by 100 / K. With ``ce`` the recipe of the
    code is kept and so inferred: lr 0.01, momentum 0.9, 10 epochs with cosine, batch 64;
    the schedule begins at the full rate, where the code steps it before each epoch (``weight_balancing_released``).
    """

    name = "weight_balancing"
    family = "parameter regularisation"
    paper = "Alshammari et al., Long-Tailed Recognition via Weight Balancing, CVPR 2022; code ShadeAlsha/LTR-weight-balancing"
    capturable = True
    recipe = Recipe(lr=0.01, momentum=0.9, weight_decay=0.1, batch_size=64, epochs=10)
    grid = {"weight_decay": (2e-4, 1e-3, 5e-3, 0.02, 0.1), "lr": (0.001, 0.01, 0.05, 0.2)}
    stackable = True

    beta: float = hyper(0.9999, low=0, high=0.999999999, help="of the effective number")
    form: Literal["ce", "bce"] = hyper(
        "ce", name="kernel", grid=("ce", "bce"), help="softmax cross-entropy, or binary cross-entropy of softmax outputs"
    )
    threshold: float = hyper(0.1, low=0, high=1, help="where the radius lies between the shortest and the longest initial row")
    maxnorm: Literal["step", "epoch", "never"] = hyper("step", help="project after every step, every epoch, or never")

    kernel = SoftmaxBCE("form")
    weighting = ClassBalanced("beta", "samples")
    projection = MaxNorm("threshold", "maxnorm")


class WeightBalancingReleased(WeightBalancing):
    """Weight balancing as its released code runs.

    ``l_i = w_y * BCE(softmax(z_i), e_y) / K`` (``kernel="bce"``), weight decay 0.1, MaxNorm once an epoch: by the end of the first one decay has made the rows shorter
    than the radius, so the projection never acts and the published result is that of weights and decay alone, its logits within 1 % of uniform. The schedule is
    stepped before each epoch (``trainval.py:63``): the rates are those of epochs 1 to 10 of the cosine, the last of them 0. See ``weight_balancing`` for the method
    as the paper states it.
    """

    name = "weight_balancing_released"
    revision = 2
    recipe = Recipe(lr=0.01, momentum=0.9, weight_decay=0.1, batch_size=64, epochs=10, schedule_offset=1)
    official = (Official("ShadeAlsha/LTR-weight-balancing", "e89f292", "demo2_second-stage-training.py", "cifar100_lt", 100),)
    grid = {"kernel": (), "weight_decay": (2e-4, 1e-3, 5e-3, 0.02), "lr": (0.001, 0.01, 0.05, 0.2)}

    form = "bce"
    maxnorm = "epoch"
