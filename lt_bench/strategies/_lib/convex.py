"""Convex losses of a linear head, minimised to their optimum: what ``convex_la`` and ``marginal_la`` share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_weights import log_prior
from lt_bench.strategies._lib.lbfgs import Moments, Solution, minimise, moments
from lt_bench.strategies._lib.remembered import remembered
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.hyper import hyper


class Convex(Strategy, abstract=True):
    """The mean of ``sample_losses`` over the plain view plus ridge / 2 ||W||^2, minimised from zero."""

    selected_on_val = True
    family = "logit adjustment"
    initial_head = "none"
    fitting = "solve"

    tau: float = hyper(1.0, low=0, high=10, help="strength of the adjustment")
    ridge: float = hyper(3e-3, low=1e-12, high=1e6, help="penalty on W, per sample")
    iterations: int = hyper(100, low=1, high=100_000, help="at most so many of L-BFGS")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.weight = nn.Parameter(torch.zeros(facts.num_classes, facts.dim), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(facts.num_classes), requires_grad=False)

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """One solution for equal hyper-parameters."""
        key = (type(self), self.dtype, self.facts.class_counts, *(getattr(self, name) for name in self.declared))
        solution = remembered(train, key, lambda: self._minimum(train))
        self.weight.copy_(solution.weight)
        self.bias.copy_(solution.bias)
        self.solved = solution.report

    def _minimum(self, train: FeatureSource) -> Solution:
        of_features = moments(train, self.facts.num_classes)

        def losses(rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            return self.sample_losses(rows, labels, weight, bias, of_features)

        return minimise(losses, train, of_features, self.facts.num_classes, self.ridge, self.iterations)

    def sample_losses(self, rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, of_features: Moments) -> Tensor:
        """Loss per sample (B,) of features (B, D) under weight (K, D) and bias (K,), in float64."""
        raise NotImplementedError

    def adjustment(self) -> Tensor:
        """tau log pi (K,)."""
        return log_prior(self.class_counts.double(), self.tau)
