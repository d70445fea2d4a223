"""Vector-scaling loss and class-dependent temperatures."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor, nn

from lt_bench.strategies._lib.class_weights import over_samples
from lt_bench.strategies.contract import Facts, Strategy, check_range
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class VS(Strategy):
    """VS: logits divided by a class-dependent temperature and shifted by the log prior while training.

    ``l_i = CE(T(z_i), y)``, ``T(z)_c = z_c / Delta_c + tau log pi_c``, ``Delta_c = (n_max / n_c)^gamma`` (orparask/VS-Loss ``losses.py:34-53``). gamma 0 is the
    logit-adjustment loss, tau 0 is ``cdt``. Inference is with the plain logits. The code's defaults are gamma 0.3 and tau 1, its README names 0.2 and 1.2 for
    CIFAR-10-LT; no table of values was released. One of its variants turns the loss on after epoch 5 only.

    Published end to end; the recipe for a head alone, from the stage-1 head, is inferred.

    Args:
        facts: what the data know.
        gamma: of the temperature.
        tau: of the prior.
        recipe: fields of ``Recipe``.
    """

    name = "vs"
    family = "logit adjustment"
    paper = (
        "Kini et al., Label-Imbalanced and Group-Sensitive Classification under Overparameterization, NeurIPS 2021; code orparask/VS-Loss"
    )
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    settings = {"cifar10_lt@100": {"gamma": 0.2, "tau": 1.2}}
    grid = {"gamma": (0.05, 0.15, 0.3), "tau": (0.5, 1.0, 1.5), "lr": (0.001, 0.01, 0.1)}

    def __init__(self, facts: Facts, *, gamma: float = 0.3, tau: float = 1.0, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "gamma", gamma, 0.0, 5.0)
        check_range(self.name, "tau", tau, 0.0, 10.0)
        counts = self.class_counts.clamp_min(1)
        self.inverse_temperature = nn.Buffer((counts / counts.max()) ** gamma, persistent=False)
        self.shift = nn.Buffer(tau * (counts / counts.sum()).log(), persistent=False)

    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """z / Delta + tau log pi."""
        return logits * over_samples(self.inverse_temperature).to(logits) + over_samples(self.shift).to(logits)


class CDT(VS):
    """CDT: logits divided by a class-dependent temperature while training.

    ``l_i = CE(z_i / a, y)``, ``a_c = (n_max / n_c)^gamma``; inference is with the plain logits. BagofTricks-LT searches gamma up to 0.4 on CIFAR-10-LT, 0.2 on
    CIFAR-100-LT and Tiny-ImageNet-LT, 0.1 on iNaturalist.

    Published end to end; the recipe for a head alone, from the stage-1 head, is inferred.

    Args:
        facts: what the data know.
        gamma: of the temperature.
        recipe: fields of ``Recipe``.
    """

    name = "cdt"
    paper = (
        "Ye et al., Identifying and Compensating for Feature Deviation in Imbalanced Deep Learning, 2020; code zhangyongshun/BagofTricks-LT"
    )
    settings = {"inat2018": {"gamma": 0.1}}
    grid = {"gamma": (0.05, 0.1, 0.2, 0.3, 0.4), "lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}

    def __init__(self, facts: Facts, *, gamma: float = 0.2, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, gamma=gamma, tau=0.0, **recipe)
