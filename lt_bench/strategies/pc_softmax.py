"""Post-compensated softmax."""

from __future__ import annotations

from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.slots.inference import ExchangePrior


class PCSoftmax(Strategy):
    """The stage-1 classifier with its training prior exchanged for the uniform one at inference; nothing is fitted.

    ``z_ic - log pi_c + log(1 / K)``, pi the training frequencies, folded into the bias. It is ``logit_adjustment`` with tau 1 up to a constant (and without its
    1e-12), so the same predictions and probabilities; kept under its own name because tables name it. A class without samples counts as one.
    """

    name = "pc_softmax"
    family = "logit adjustment"
    paper = "Hong et al., Disentangling Label Distribution for Long-tailed Visual Recognition, CVPR 2021, eq. 6; code hyperconnect/LADE"
    trains = "nothing"
    fitting = "none"

    at_inference = ExchangePrior()
