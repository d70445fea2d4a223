"""Re-training with bounded rows."""

from __future__ import annotations

from typing import Literal, Unpack

from lt_bench.strategies.contract import Facts
from lt_bench.strategies.recipe import Recipe, RecipeOptions
from lt_bench.strategies.weight_balancing import WeightBalancing


class MaxNorm(WeightBalancing):
    """Plain cross-entropy from the stage-1 head, rows projected onto a ball.

    ``l_i = CE(z_i, y)``, and after a step ``w_c <- w_c * min(1, r / ||w_c||)`` with one radius r = min ||w|| + threshold * (max ||w|| - min ||w||) of the initial
    rows; the bias is free: ``weight_balancing`` without class weights and weight decay. Head classes have the longest rows after stage 1, so the bound caps them
    and leaves the tail. Paper: after every iteration, the default; official code: once an epoch. The recipe for this loss alone is inferred.

    Args:
        facts: what the data know.
        threshold: where the radius lies between the shortest and the longest initial row.
        maxnorm: project after every ``step`` or every ``epoch``.
        recipe: fields of ``Recipe``.
    """

    name = "maxnorm"
    family = "parameter regularisation"
    paper = "Alshammari et al., Long-Tailed Recognition via Weight Balancing, CVPR 2022; code ShadeAlsha/LTR-weight-balancing"
    recipe = Recipe(lr=0.01, momentum=0.9, weight_decay=0.0, batch_size=64, epochs=10)
    official = ()
    grid = {"threshold": (0.0, 0.1, 0.3, 0.6), "lr": (0.001, 0.01, 0.05), "weight_decay": (0.0, 5e-3)}

    def __init__(
        self, facts: Facts, *, threshold: float = 0.1, maxnorm: Literal["step", "epoch"] = "step", **recipe: Unpack[RecipeOptions]
    ) -> None:
        super().__init__(facts, beta=0.0, kernel="ce", threshold=threshold, maxnorm=maxnorm, **recipe)
