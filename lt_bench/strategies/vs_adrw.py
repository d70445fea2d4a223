"""VS with re-weighting and additive adjustment that a generalisation bound aligns: VS + TLA + ADRW."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lt_bench.strategies._lib.class_weights import over_samples
from lt_bench.strategies.contract import Facts, Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.weights import DeferredInverse


class VSADRW(Strategy):
    """VS + TLA + ADRW: VS first; in the last part of the fit no temperatures, which the bound says to truncate, but weights by a small power of the frequency.

    ``l_i = w_y CE(T(z_i), y)``, ``T(z)_c = z_c / Delta_c + tau log pi_c``; before the fraction ``deferral`` of the epochs w is 1 and ``Delta_c = (n_max / n_c)^gamma``, afterwards
    ``w_c = pi_c^-rho`` scaled to sum to K and Delta 1. The batch is reduced by its sum of weights.

    Official code (wang22ti/DDC ``cifar_train.py`` ADRW-T, ``losses.py`` VSLoss, ``bash_script.sh``): rho, gamma and tau by data set are its, for the exponential long tail;
    before the deferral (epoch 320 of 400) its tau is 1 on CIFAR-100-LT at IF 100 and 0.5 at 10, where here it is one. Its journal version (2026) also has data-dependent
    temperatures from a memory of logits (``utils/cvs_manager.py``), which are left out. Published end to end with SAM; the recipe for a head alone is inferred.
    """

    name = "vs_adrw"
    family = "re-weighting"
    paper = "Wang et al., A Unified Generalization Analysis of Re-Weighting and Logit-Adjustment for Imbalanced Learning, NeurIPS 2023; code wang22ti/DDC 4bd4fb3"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    settings = {
        "cifar100_lt": {"rho": 0.25, "gamma": 0.05, "tau": 0.75}, "cifar100_lt@10": {"rho": 0.1},
        "cifar10_lt": {"rho": 0.15, "gamma": 0.05, "tau": 1.0}, "cifar10_lt@10": {"rho": 0.1, "gamma": 0.0},
    }  # fmt: skip
    grid = {"lr": (0.01, 0.1)}
    stackable = True

    gamma: float = hyper(0.05, low=0, high=5, grid=(0.05, 0.15), help="of the temperature")
    tau: float = hyper(1.0, low=0, high=10, grid=(0.75, 1.0), help="of the prior")
    rho: float = hyper(0.25, low=0, high=5, grid=(0.1, 0.25), help="power of the inverse frequency in the weights")
    deferral: float = hyper(
        0.8, low=0, high=1, help="from which fraction of the epochs on the weights hold and temperatures do not, rounded to an epoch"
    )

    weighting = DeferredInverse("rho", "weights", "deferral")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        counts = self.class_counts.clamp_min(1)
        self.register_buffer("_inverse_temperature", (counts / counts.max()) ** self.gamma, persistent=False)
        self.register_buffer("_prior", self.tau * (counts / counts.sum()).log(), persistent=False)
        self.register_buffer("_late", torch.zeros(*self.leading, 1, dtype=torch.bool), persistent=False)

    def begin_epoch(self, epoch: int) -> None:
        """Whether the temperatures are truncated."""
        entry: Any = self.weighting
        self._late.copy_(entry.is_late(epoch))

    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """z / Delta + tau log pi."""
        inverse = torch.where(self._late, torch.ones_like(self._inverse_temperature), self._inverse_temperature)
        return logits * over_samples(inverse).to(logits) + over_samples(self._prior).to(logits)

    _inverse_temperature: Tensor
    _prior: Tensor
    _late: Tensor
