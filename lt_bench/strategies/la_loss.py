"""Logit-adjustment loss."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor, nn

from lt_bench.strategies._lib.class_weights import log_prior, over_samples
from lt_bench.strategies._lib.cross_entropy import shift
from lt_bench.strategies.contract import Facts, Strategy, check_range
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class LALoss(Strategy):
    """Cross-entropy on logits shifted by the log prior, so that the plain logits fit a balanced prior.

    ``l_i = CE(T(z_i), y)``, ``T(z)_c = z_c + log(pi_c^tau + 1e-12)``; inference is with the plain logits. With tau 1 it is balanced softmax up to a constant.
    After fitting, this or ``logit_adjustment`` at inference, never both.

    Published end to end (1,241 epochs on CIFAR-10-LT, 1,419 on CIFAR-100-LT); the recipe for a head alone, from the stage-1 head, is inferred.

    Args:
        facts: what the data know.
        tau: strength; 1 is the official default.
        recipe: fields of ``Recipe``.
    """

    name = "la_loss"
    family = "logit adjustment"
    paper = "Menon et al., Long-tail learning via logit adjustment, ICLR 2021, eq. 10; code google-research/logit_adjustment"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"tau": (0.25, 0.5, 0.75, 1.0, 1.5), "lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}

    def __init__(self, facts: Facts, *, tau: float = 1.0, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "tau", tau, 0.0, 10.0)
        self.shift = nn.Buffer(log_prior(self.class_counts, tau), persistent=False)

    @shift
    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """z + log(pi^tau + 1e-12)."""
        return logits + over_samples(self.shift).to(logits)
