"""Multiplicative logit adjustment."""

from __future__ import annotations

from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.official import Official
from lt_bench.strategies.slots.inference import Multiply


class MultiplicativeLA(Strategy):
    """The stage-1 classifier with every logit multiplied by a power of its class's rarity; nothing is fitted.

    ``z_ic * pi_c^-tau``, pi the training frequencies (a class without samples counts as one), bias included; folded into W and b. The official factor is used as it
    is (HN410/Exploring-Weight-Balancing ``utils/model_units.py`` LogitAdjuster), so logits grow by up to pi_min^-tau and the softmax saturates: the arg max is meant,
    not the probabilities. tau 0.65 on CIFAR-100-LT and 1.6 on CIFAR-10-LT (``jsons/``) belong to a stage 1 with a fixed simplex classifier, weight decay 5e-3 and
    feature regularisation 0.01; on an ordinary stage 1 tau is far smaller.
    """

    name = "multiplicative_la"
    family = "parameter regularisation"
    paper = "Hasegawa and Sato, Exploring Weight Balancing on Long-Tailed Recognition Problem, ICLR 2024; code HN410/Exploring-Weight-Balancing-on-Long-Tailed-Recognition-Problem"
    trains = "nothing"
    fitting = "none"
    official = (
        Official(
            "HN410/Exploring-Weight-Balancing-on-Long-Tailed-Recognition-Problem", "f8131b5", "jsons/Cifar10/second.json", "cifar10_lt", 100
        ),
        Official(
            "HN410/Exploring-Weight-Balancing-on-Long-Tailed-Recognition-Problem",
            "f8131b5",
            "jsons/Cifar100/second.json",
            "cifar100_lt",
            100,
        ),
    )
    settings = {"cifar10_lt": {"tau": 1.6}}

    tau: float = hyper(
        0.65,
        low=0,
        high=10,
        grid=(0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.3, 1.6),
        help="exponent, 0 leaves the head as it is",
    )

    at_inference = Multiply("tau")
