"""Weighted nearest neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lt_bench.core.memory_heads import ROWS, Neighbours
from lt_bench.features.source import FeatureSource
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.hyper import hyper


class KNN(Strategy):
    """k nearest neighbours: a vote of the k training features with the largest cosine; nothing is trained, the head keeps the training features.

    ``z_c = log sum_i exp(cos(h, h_i) / T) / n_c^balance`` over those of the k nearest i with y_i = c, up to a constant. With balance 0 it is the weighted vote of Wu et
    al. (CVPR 2018; k 200, T 0.07), which self-supervised learning measures features by; balance 1 divides by the class size, without which frequent classes
    have most of the neighbours. Plain training view; every training image is its own nearest neighbour, so accuracy on the training split says nothing.

    Nothing of N x N arises: queries meet the training features block by block. A head of 437,513 x 2,048 numbers is 3.6 GB.
    """

    name = "knn"
    family = "baseline"
    paper = "Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018"
    initial_head = "none"
    trains = "nothing"
    fitting = "solve"

    k: int = hyper(200, low=1, high=1_000_000, grid=(20, 50, 200), help="neighbours that vote")
    temperature: float = hyper(0.07, low=1e-3, high=100, grid=(0.03, 0.07, 0.2), help="T; a small one lets the nearest decide")
    balance: float = hyper(1.0, low=0, high=2, grid=(0.0, 0.5, 1.0), help="power of the class size by which votes are divided")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.features = nn.Buffer(torch.zeros(facts.num_samples, facts.dim))
        self.labels = nn.Buffer(torch.zeros(facts.num_samples, dtype=torch.int64))

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """Keep the training features, brought to length 1."""
        for stored, rows in zip(self.features.split(ROWS), train.view("plain").split(ROWS), strict=True):
            stored.copy_(nn.functional.normalize(rows.to(stored), dim=1))
        self.labels.copy_(train.labels)

    def inference_head(self) -> nn.Module:
        """The vote; the training features are shared with it."""
        votes = (self.class_counts / self.class_counts.max()).clamp_min(1e-12) ** -self.balance
        return Neighbours(self.features, self.labels, votes.to(self.features), self.k, self.temperature)
