"""tau-normalised classifier."""

from __future__ import annotations

from typing import Unpack

from torch import nn

from lt_bench.strategies.contract import Facts, Strategy, check_range, linear_head
from lt_bench.strategies.recipe import RecipeOptions


class TauNorm(Strategy):
    """The stage-1 classifier with its rows divided by their norm to the power tau; nothing is fitted.

    ``z_ic = w_c h_i / ||w_c||^tau``; the bias is dropped as in the official code (``tau_norm.py:102-114``), or kept as in the weight-balancing demo, which uses
    tau 1.9 on strongly decayed features. The paper chooses tau on validation images from 0, 0.1, ..., 2; tau 1, the default here, is L2 normalisation.

    Args:
        facts: what the data know.
        tau: exponent, 0 leaves the rows as they are.
        keep_bias: keep the stage-1 bias.
        recipe: fields of ``Recipe``; without effect, nothing is fitted.
    """

    name = "tau_norm"
    family = "parameter regularisation"
    paper = "Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020; code facebookresearch/classifier-balancing"
    trains = "nothing"
    fitting = "none"
    grid = {"tau": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0)}

    def __init__(self, facts: Facts, *, tau: float = 1.0, keep_bias: bool = False, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "tau", tau, 0.0, 10.0)
        self.tau = self.one_per_head(tau)
        self.keep_bias = keep_bias

    def inference_head(self, head: int = 0) -> nn.Module:
        """Linear, rows normalised."""
        weight = self.weight[head].detach()
        norms = weight.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return linear_head(weight / norms ** self.tau[head], self.bias[head].detach() if self.keep_bias else None)
