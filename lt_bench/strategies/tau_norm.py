"""tau-normalised classifier."""

from __future__ import annotations

from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.inference import RowNorm


class TauNorm(Strategy):
    """The stage-1 classifier with its rows divided by their norm to the power tau; nothing is fitted.

    ``z_ic = w_c h_i / ||w_c||^tau``; the bias is dropped as in the official code (``tau_norm.py:102-114``), or kept as in the weight-balancing demo, which uses
    tau 1.9 on strongly decayed features. The paper chooses tau on validation images from 0, 0.1, ..., 2; tau 1, the default here, is L2 normalisation.
    """

    name = "tau_norm"
    family = "parameter regularisation"
    paper = "Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020; code facebookresearch/classifier-balancing"
    trains = "nothing"
    fitting = "none"

    tau: float = hyper(
        1.0,
        low=0,
        high=10,
        grid=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0),
        help="exponent, 0 leaves the rows as they are",
    )
    keep_bias: bool = hyper(False, help="keep the stage-1 bias")

    at_inference = RowNorm("tau", "keep_bias")
