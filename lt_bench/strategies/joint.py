"""The stage-1 classifier as it is."""

from __future__ import annotations

from lt_bench.strategies.contract import Strategy


class Joint(Strategy):
    """The stage-1 head, not re-trained: the baseline that every other row is compared with.

    ``z_i = W h_i + b`` with W and b of stage 1; nothing is fitted, so it has no seeds.
    """

    name = "joint"
    family = "baseline"
    paper = "Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020 ('Joint')"
    trains = "nothing"
    fitting = "none"
