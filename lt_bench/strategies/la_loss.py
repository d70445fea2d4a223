"""Logit-adjustment loss."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.transforms import LogPrior


class LALoss(Strategy):
    """Cross-entropy on logits shifted by the log prior, so that the plain logits fit a balanced prior.

    ``l_i = CE(T(z_i), y)``, ``T(z)_c = z_c + log(pi_c^tau + 1e-12)``; inference is with the plain logits. With tau 1 it is balanced softmax up to a constant.
    After fitting, this or ``logit_adjustment`` at inference, never both.

    Published end to end (1,241 epochs on CIFAR-10-LT, 1,419 on CIFAR-100-LT); the recipe for a head alone, from the stage-1 head, is inferred.
    """

    name = "la_loss"
    family = "logit adjustment"
    paper = "Menon et al., Long-tail learning via logit adjustment, ICLR 2021, eq. 10; code google-research/logit_adjustment"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}
    stackable = True

    tau: float = hyper(1.0, low=0, high=10, grid=(0.25, 0.5, 0.75, 1.0, 1.5), help="strength; 1 is the official default")

    transform = LogPrior("tau")
