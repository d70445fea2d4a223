"""Re-training with bounded rows."""

from __future__ import annotations

from typing import Literal

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.projections import MaxNorm


class BoundedRows(Strategy):
    """Plain cross-entropy from the stage-1 head, rows projected onto a ball.

    ``l_i = CE(z_i, y)``, and after a step ``w_c <- w_c * min(1, r / ||w_c||)`` with one radius r = min ||w|| + threshold * (max ||w|| - min ||w||) of the initial
    rows; the bias is free: ``weight_balancing`` without class weights and weight decay. Head classes have the longest rows after stage 1, so the bound caps them
    and leaves the tail. Paper: after every iteration, the default; official code: once an epoch. The recipe for this loss alone is inferred.
    """

    name = "maxnorm"
    family = "parameter regularisation"
    paper = "Alshammari et al., Long-Tailed Recognition via Weight Balancing, CVPR 2022; code ShadeAlsha/LTR-weight-balancing"
    recipe = Recipe(lr=0.01, momentum=0.9, weight_decay=0.0, batch_size=64, epochs=10)
    capturable = True
    grid = {"lr": (0.001, 0.01, 0.05), "weight_decay": (0.0, 5e-3)}
    stackable = True

    threshold: float = hyper(
        0.1, low=0, high=1, grid=(0.0, 0.1, 0.3, 0.6), help="where the radius lies between the shortest and the longest initial row"
    )
    maxnorm: Literal["step", "epoch"] = hyper("step", help="project after every step or every epoch")

    projection = MaxNorm("threshold", "maxnorm")
