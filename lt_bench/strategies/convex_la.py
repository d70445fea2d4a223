"""Logit adjustment solved to its optimum, plain and under feature noise: strategies of this suite."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_weights import log_prior
from lt_bench.strategies._lib.cross_entropy import smoothed_cross_entropy
from lt_bench.strategies._lib.lbfgs import Moments, Solution, minimise, moments
from lt_bench.strategies._lib.remembered import remembered
from lt_bench.strategies._lib.tensors import per_class
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.hyper import hyper


class Convex(Strategy, ABC, abstract=True):
    """The mean of ``sample_losses`` over the plain view plus ridge / 2 ||W||^2, minimised from zero."""

    selected_on_val = True
    family = "logit adjustment"
    initial_head = "none"
    fitting = "solve"

    ridge: float = hyper(3e-3, low=1e-12, high=1e6, help="penalty on W, per sample")
    iterations: int = hyper(100, low=1, high=100_000, help="at most so many of L-BFGS")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.weight = nn.Parameter(torch.zeros(facts.num_classes, facts.dim), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(facts.num_classes), requires_grad=False)

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """The optimum, which heads of equal hyper-parameters share."""
        key = (type(self), self.dtype, self.facts.class_counts, *(getattr(self, name) for name in self.declared))
        solution = remembered(train, key, lambda: self._minimum(train))
        self.weight.copy_(solution.weight)
        self.bias.copy_(solution.bias)
        self.solved = solution.report

    def _minimum(self, train: FeatureSource) -> Solution:
        of_features = moments(train, self.facts.num_classes)
        losses = partial(self.sample_losses, of_features=of_features)
        return minimise(losses, train, of_features, self.facts.num_classes, self.ridge, self.iterations)

    @abstractmethod
    def sample_losses(self, rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, of_features: Moments) -> Tensor:
        """Loss per sample (B,) of features (B, D) under weight (K, D) and bias (K,), in float64."""


class ConvexLA(Convex):
    """The logit-adjusted loss with a ridge, minimised over all samples at once: no learning rate, no batches, no seed.

    ``l_i = CE(T(z_i), q_i)``, ``T(z)_c = z_c + tau log pi_c``, q the one-hot target smoothed by epsilon (torch's form), mean over the training samples of the plain
    view, plus ridge / 2 ||W||^2 (the bias is free). tau 0 and epsilon 0.98 are the optimum that ``los`` stops short of. With tau 1 and epsilon 0 it is the objective of ``balanced_softmax`` and ``la_loss`` under weight decay. It is convex, so where SGD gives a point that depends on rate, schedule and
    order, this has one answer. L-BFGS in float64 comes close to it from zero: the record has the norm of the gradient where it ended, and a fit that ended with more than
    1e-3 is marked as not converged. Features of training images are told apart far better than those of new ones, so the ridge has to regularise as an early end of SGD does by accident: on CIFAR-100-LT validation
    accuracy falls with a tenth and with ten times the default.

    Ours: the loss is that of Menon et al. (ICLR 2021); solving it is new here. Hyper-parameters were chosen on unseen validation images (docs/findings.md).
    """

    name = "convex_la"
    paper = "this suite; loss of Menon et al., Long-tail learning via logit adjustment, ICLR 2021"
    grid = {"tau": (1.0, 1.4), "ridge": (1e-3, 3e-3, 1e-2, 3e-2)}

    tau: float = hyper(1.0, low=0, high=10, help="strength of the adjustment")
    epsilon: float = hyper(0.0, low=0, high=1, help="smoothing of the target")

    def prior_power(self) -> float | None:
        """The part of the training prior that the adjustment leaves; not known of smoothed targets."""
        return 1 - float(self.tau) if self.epsilon == 0 else None

    def sample_losses(self, rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, of_features: Moments) -> Tensor:
        """Smoothed cross-entropy of adjusted logits."""
        return smoothed_cross_entropy(rows @ weight.T + bias + log_prior(self.class_counts.double(), self.tau), labels, self.epsilon)


class MarginalLA(Convex):
    """The logit-adjusted loss under Gaussian noise on the features, wider for rare classes, minimised over all samples at once.

    ``l_i = CE(T(z_i), y)`` with h_i replaced by h_i + e, e normal with covariance lambda_y S, in the closed upper bound of its mean:
    ``T(z)_c = z_c + tau log pi_c + lambda_y / 2 (w_c - w_y)^T S (w_c - w_y)``; plus ridge / 2 ||W||^2. S is the covariance of training features within classes,
    ``lambda_c = spread (n_c / n_max)^-rarity`` scaled so that its mean over training samples is ``spread``. Convex too, as each exponent is.

    The thought behind it: stage 1 has memorised its training images, so their features lie closer together than those of new images, more so for rare classes; the
    noise restores the overlap that a prior acts on. What it brings is a weaker dependence on the ridge. The bound is that of implicit semantic data augmentation (Wang et al., NeurIPS 2019), there
    with a covariance per class in end-to-end training; one covariance for all with a width per class, a prior and its minimisation over all samples are ours. Hyper-parameters were
    chosen on unseen validation images (docs/findings.md).
    """

    name = "marginal_la"
    paper = "this suite; bound of Wang et al., Implicit Semantic Data Augmentation for Deep Networks, NeurIPS 2019"
    grid = {"spread": (0.1, 0.3, 1.0, 3.0), "ridge": (2e-3, 1e-2)}

    ridge = 2e-3
    tau: float = hyper(1.0, low=0, high=10, help="strength of the adjustment")
    noise: float = hyper(0.3, low=0, high=1e3, name="spread", help="lambda, the width of the noise, mean over the training samples")
    rarity: float = hyper(0.5, low=0, high=2, help="how much wider the noise of rare classes is; 0 for equal")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        counts = self.class_counts.clamp_min(1)
        width = (counts / counts.max()) ** -torch.as_tensor(self.rarity, dtype=torch.float64)
        mean = (width * self.class_counts).sum() / self.class_counts.sum()
        self.width = nn.Buffer(self.noise * width / mean, persistent=False)

    def sample_losses(self, rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, of_features: Moments) -> Tensor:
        """The bound per sample, written with h_i moved against its own row: no table of class pairs arises."""
        directions = weight @ of_features.within
        own = per_class(self.width.double(), labels).unsqueeze(1)
        moved = rows - own * directions[labels]
        logits = moved @ weight.T + bias + log_prior(self.class_counts.double(), self.tau) + own / 2 * (directions * weight).sum(1)
        return smoothed_cross_entropy(logits, labels, 0.0)
