"""Linear probes solved to their optimum: multinomial logistic regression and least squares on class indicators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_means import class_means, class_shares, within_covariance
from lt_bench.strategies._lib.cross_entropy import smoothed_cross_entropy
from lt_bench.strategies._lib.lbfgs import Moments
from lt_bench.strategies._lib.tensors import linear_head
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.convex_la import Convex
from lt_bench.strategies.hyper import hyper


class Logistic(Convex):
    """Multinomial logistic regression at its optimum: the linear probe; no learning rate, no batches, no seed.

    Minimises ``mean_i w_y CE(z_i, y) + ridge / 2 ||W||^2`` over the plain training view, ``w_c`` proportional to ``n_c^-balance`` with a mean of 1 over samples; the
    bias is free. balance 0 is the usual probe, balance 1 scikit-learn's ``LogisticRegression(class_weight="balanced", C=1 / (N ridge))``. L-BFGS from zero in float64.
    """

    name = "logistic"
    selected_on_val = False
    family = "baseline"
    paper = "Cox, The regression analysis of binary sequences, 1958; as a probe of features: Alain and Bengio, 2016"
    grid = {"ridge": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)}

    ridge = 1e-3
    iterations = 300
    balance: float = hyper(
        0.0, low=0, high=2, grid=(0.0, 1.0), help="power of the class size by which samples are divided; 1 for class-balanced"
    )

    def prior_power(self) -> float:
        """The part of the training prior that the weights leave."""
        return 1 - float(self.balance)

    def sample_losses(self, rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, of_features: Moments) -> Tensor:
        """Weighted cross-entropy."""
        of_class = class_shares(self.class_counts, self.balance) * self.class_counts.sum() / self.class_counts.clamp_min(1)
        return of_class[labels] * smoothed_cross_entropy(rows @ weight.T + bias, labels, 0.0)


class Ridge(Strategy):
    """Least squares on class indicators with a ridge; closed form, two passes over the plain training view.

    Minimises ``mean_i w_y ||e_y - W h_i - b||^2 + ridge ||W||^2``, ``w_c`` proportional to ``n_c^-balance`` with a mean of 1 over samples; the bias is free.

    It is what label over-smoothing tends to: with epsilon to 1 the logits are small, cross-entropy is quadratic in them, and the optimum of ``los`` under a
    penalty of lambda / 2 ||W||^2 is this head with ridge K lambda, times K (1 - epsilon). scikit-learn's ``Ridge(alpha=N ridge)`` on one-hot targets.
    """

    name = "ridge"
    family = "baseline"
    paper = "Hoerl and Kennard, Ridge Regression, Technometrics 1970"
    initial_head = "none"
    fitting = "solve"

    ridge: float = hyper(0.1, low=1e-12, high=1e6, grid=(1e-3, 1e-2, 0.1, 1.0, 10.0), help="penalty on W, per sample")
    balance: float = hyper(
        1.0, low=0, high=2, grid=(0.0, 0.5, 1.0), help="power of the class size by which samples are divided; 1 for class-balanced"
    )

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.rows = nn.Buffer(torch.zeros(facts.num_classes, facts.dim))
        self.offsets = nn.Buffer(torch.zeros(facts.num_classes))

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """The covariance of features with indicators is made of class means alone."""
        means, counts = class_means(train, self.facts.num_classes)
        shares = class_shares(counts, self.balance)
        centre = shares @ means
        between = (means - centre) * shares.unsqueeze(1)
        total = within_covariance(train, self.facts.num_classes, balance=self.balance) + between.T @ (means - centre)
        rows = torch.linalg.solve(total + self.ridge * torch.eye(len(total), dtype=total.dtype, device=total.device), between.T).T
        self.rows.copy_(rows)
        self.offsets.copy_(shares - rows @ centre)

    def inference_head(self) -> nn.Module:
        """Linear."""
        return linear_head(self.rows, self.offsets)
