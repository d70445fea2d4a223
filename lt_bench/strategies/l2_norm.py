"""L2-normalised classifier."""

from __future__ import annotations

from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.official import Official
from lt_bench.strategies.slots.inference import RowNorm


class L2Norm(Strategy):
    """The stage-1 classifier with rows of length 1 and its bias kept; nothing is fitted.

    ``z_ic = w_c h_i / ||w_c|| + b_c``: ``tau_norm`` with tau 1. The demo of weight balancing (ShadeAlsha/LTR-weight-balancing ``utils/regularizers.py`` Normalizer,
    tau 1) keeps the bias, the default; classifier-balancing drops it.
    """

    name = "l2_norm"
    family = "parameter regularisation"
    paper = "Alshammari et al., Long-Tailed Recognition via Weight Balancing, CVPR 2022; code ShadeAlsha/LTR-weight-balancing"
    trains = "nothing"
    fitting = "none"
    official = (Official("ShadeAlsha/LTR-weight-balancing", "e89f292", "demo2_second-stage-training.py", "cifar100_lt", 100),)

    keep_bias: bool = hyper(True, grid=(True, False), help="keep the stage-1 bias")

    at_inference = RowNorm(1.0, "keep_bias")
