"""Vector-scaling loss and class-dependent temperatures."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.transforms import Temperature


class VS(Strategy):
    """VS: logits divided by a class-dependent temperature and shifted by the log prior while training.

    ``l_i = CE(T(z_i), y)``, ``T(z)_c = z_c / Delta_c + tau log pi_c``, ``Delta_c = (n_max / n_c)^gamma`` (orparask/VS-Loss ``losses.py:34-53``). gamma 0 is the
    logit-adjustment loss, tau 0 is ``cdt``. Inference is with the plain logits. The code's defaults are gamma 0.3 and tau 1, its README names 0.2 and 1.2 for
    CIFAR-10-LT; no table of values was released. One of its variants turns the loss on after epoch 5 only.

    Published end to end; the recipe for a head alone, from the stage-1 head, is inferred.
    """

    name = "vs"
    family = "logit adjustment"
    paper = (
        "Kini et al., Label-Imbalanced and Group-Sensitive Classification under Overparameterization, NeurIPS 2021; code orparask/VS-Loss"
    )
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    settings = {"cifar10_lt@100": {"gamma": 0.2, "tau": 1.2}}
    grid = {"lr": (0.001, 0.01, 0.1)}
    stackable = True

    gamma: float = hyper(0.3, low=0, high=5, grid=(0.05, 0.15, 0.3), help="of the temperature")
    tau: float = hyper(1.0, low=0, high=10, grid=(0.5, 1.0, 1.5), help="of the prior")

    transform = Temperature("gamma", "tau")


class CDT(Strategy):
    """CDT: logits divided by a class-dependent temperature while training.

    ``l_i = CE(z_i / a, y)``, ``a_c = (n_max / n_c)^gamma``; inference is with the plain logits. BagofTricks-LT searches gamma up to 0.4 on CIFAR-10-LT, 0.2 on
    CIFAR-100-LT and Tiny-ImageNet-LT, 0.1 on iNaturalist.

    Published end to end; the recipe for a head alone, from the stage-1 head, is inferred.
    """

    name = "cdt"
    family = "logit adjustment"
    paper = (
        "Ye et al., Identifying and Compensating for Feature Deviation in Imbalanced Deep Learning, 2020; code zhangyongshun/BagofTricks-LT"
    )
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    settings = {"inat2018": {"gamma": 0.1}}
    grid = {"lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}
    stackable = True

    gamma: float = hyper(0.2, low=0, high=5, grid=(0.05, 0.1, 0.2, 0.3, 0.4), help="of the temperature")

    transform = Temperature("gamma", 0.0)
