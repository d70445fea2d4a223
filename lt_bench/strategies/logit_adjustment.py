"""Post-hoc logit adjustment."""

from __future__ import annotations

from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.official import Official
from lt_bench.strategies.slots.inference import SubtractLogPrior


class LogitAdjustment(Strategy):
    """The stage-1 classifier with the log prior subtracted at inference; nothing is fitted.

    ``z_ic - log(pi_c^tau + 1e-12)``, pi the training frequencies; folded into the bias. The column reading of LoMa cannot see it, being blind to biases.
    """

    name = "logit_adjustment"
    family = "logit adjustment"
    paper = "Menon et al., Long-tail learning via logit adjustment, ICLR 2021, eq. 9; code google-research/logit_adjustment"
    trains = "nothing"
    fitting = "none"
    official = (
        Official(
            "google-research/google-research", "ccc94ce", "logit_adjustment/main.py --dataset=cifar10-lt --mode=posthoc", "cifar10_lt", 100
        ),
        Official(
            "google-research/google-research",
            "ccc94ce",
            "logit_adjustment/main.py --dataset=cifar100-lt --mode=posthoc",
            "cifar100_lt",
            100,
        ),
    )

    tau: float = hyper(
        1.0,
        low=0,
        high=10,
        grid=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0),
        help="1 is the official default and Bayes-optimal for the balanced error if stage 1 were calibrated",
    )

    at_inference = SubtractLogPrior("tau")
