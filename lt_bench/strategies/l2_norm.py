"""L2-normalised classifier."""

from __future__ import annotations

from typing import Unpack

from lt_bench.strategies.contract import Facts
from lt_bench.strategies.recipe import RecipeOptions
from lt_bench.strategies.tau_norm import TauNorm


class L2Norm(TauNorm):
    """The stage-1 classifier with rows of length 1 and its bias kept; nothing is fitted.

    ``z_ic = w_c h_i / ||w_c|| + b_c``: ``tau_norm`` with tau 1. The demo of weight balancing (ShadeAlsha/LTR-weight-balancing ``utils/regularizers.py`` Normalizer,
    tau 1) keeps the bias, the default; classifier-balancing drops it.

    Args:
        facts: what the data know.
        keep_bias: keep the stage-1 bias.
        recipe: fields of ``Recipe``; without effect, nothing is fitted.
    """

    name = "l2_norm"
    family = "parameter regularisation"
    paper = "Alshammari et al., Long-Tailed Recognition via Weight Balancing, CVPR 2022; code ShadeAlsha/LTR-weight-balancing"
    trains = "nothing"
    fitting = "none"
    official = ("cifar100_lt@100",)
    grid = {"keep_bias": (True, False)}

    def __init__(self, facts: Facts, *, keep_bias: bool = True, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, tau=1.0, keep_bias=keep_bias, **recipe)
