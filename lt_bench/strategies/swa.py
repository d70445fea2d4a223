"""Stochastic weight averaging of a head."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lt_bench.features.source import FeatureSource
from lt_bench.strategies.contract import Facts, Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.transforms import LogPrior


class SWA(Strategy):
    """The logit-adjusted loss at a constant rate; the head is the mean of those at the end of the last epochs.

    ``l_i = CE(T(z_i), y)``, ``T(z)_c = z_c + tau log pi_c``; ``W = mean of W_e over the last e epochs``, b likewise. tau 0 is plain cross-entropy.

    Izmailov et al. average the last quarter of a training, as here. A linear head has no statistics of BatchNorm to be made anew. The recipe is inferred.
    """

    name = "swa"
    family = "optimisation"
    paper = "Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018; loss of Menon et al., ICLR 2021"
    initial_head = "random"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=128, epochs=32, schedule="constant")
    grid = {"lr": (0.01, 0.1, 0.5), "weight_decay": (5e-4, 5e-3)}
    stackable = True

    tau: float = hyper(1.0, low=0, high=10, help="strength of the prior in the loss")
    last: int = hyper(8, low=1, high=100_000, grid=(2, 8, 16), help="epochs whose heads are averaged; all where there are fewer")

    transform = LogPrior("tau")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.sum_of_weights, self.sum_of_biases = nn.Buffer(torch.zeros_like(self.weight)), nn.Buffer(torch.zeros_like(self.bias))

    def begin(self, train: FeatureSource) -> None:
        """Reset the sums of the average."""
        self.sum_of_weights.zero_()
        self.sum_of_biases.zero_()

    def end_epoch(self, epoch: int) -> None:
        """Add this epoch's head, and after the last one put the mean in its place."""
        last = min(self.last, self.recipe.epochs)
        if epoch >= self.recipe.epochs - last:
            self.sum_of_weights += self.weight
            self.sum_of_biases += self.bias
        if epoch == self.recipe.epochs - 1:
            self.weight.copy_(self.sum_of_weights / last)
            self.bias.copy_(self.sum_of_biases / last)
