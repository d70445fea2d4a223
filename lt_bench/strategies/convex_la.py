"""Logit adjustment solved to its optimum, plain and under feature noise: strategies of this suite."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_weights import log_prior
from lt_bench.strategies._lib.lbfgs import Moments, Solution, minimise, moments
from lt_bench.strategies.contract import Facts, Strategy, check_range, per_class, smoothed_cross_entropy
from lt_bench.strategies.recipe import RecipeOptions


class ConvexLA(Strategy):
    """The logit-adjusted loss with a ridge, minimised exactly: no learning rate, no batches, no seed.

    ``l_i = CE(T(z_i), q_i)``, ``T(z)_c = z_c + tau log pi_c``, q the one-hot target smoothed by epsilon (torch's form), mean over the training samples of the plain
    view, plus ridge / 2 ||W||^2 (the bias is free). tau 0 and epsilon 0.98 are the optimum that ``los`` stops short of. With tau 1 and epsilon 0 it is the objective of ``balanced_softmax`` and ``la_loss`` under weight decay. It is convex, so where SGD gives a point that depends on rate, schedule and
    order, this has one answer; L-BFGS in float64 finds it from zero. Features of training
    images are told apart far better than those of new ones, so the ridge has to regularise as an early end of SGD does by accident: on CIFAR-100-LT validation
    accuracy falls with a tenth and with ten times the default.

    Ours: the loss is that of Menon et al. (ICLR 2021); solving it is new here. Hyper-parameters were chosen on unseen validation images (docs/findings.md).

    Args:
        facts: what the data know.
        tau: strength of the adjustment.
        ridge: penalty on W, per sample.
        epsilon: smoothing.
        iterations: at most so many of L-BFGS.
        recipe: fields of ``Recipe``; without effect, nothing is fitted by steps.
    """

    name = "convex_la"
    selected_on_val = True
    family = "logit adjustment"
    paper = "this suite; loss of Menon et al., Long-tail learning via logit adjustment, ICLR 2021"
    initial_head = "none"
    fitting = "solve"
    grid = {"tau": (1.0, 1.4), "ridge": (1e-3, 3e-3, 1e-2, 3e-2)}

    def __init__(
        self,
        facts: Facts,
        *,
        tau: float = 1.0,
        ridge: float = 3e-3,
        epsilon: float = 0.0,
        iterations: int = 100,
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "tau", tau, 0.0, 10.0)
        check_range(self.name, "ridge", ridge, 1e-12, 1e6)
        check_range(self.name, "epsilon", epsilon, 0.0, 1.0)
        check_range(self.name, "iterations", iterations, 1, 100_000)
        self.tau, self.ridge, self.epsilon = (self.one_per_head(value) for value in (tau, ridge, epsilon))
        self.iterations = iterations
        self.weight = torch.nn.Parameter(torch.zeros(self.heads, facts.num_classes, facts.dim), requires_grad=False)
        self.bias = torch.nn.Parameter(torch.zeros(self.heads, facts.num_classes), requires_grad=False)

    def solve(self, train: FeatureSource) -> None:
        """One solution per head; heads with the same hyper-parameters share it."""
        found: dict[tuple[float, ...], Solution] = {}
        of_features = moments(train, self.facts.num_classes)
        for head, key in enumerate(self.keys()):
            if key not in found:
                found[key] = minimise(
                    lambda rows, labels, weight, bias, head=head: self.losses(rows, labels, weight, bias, head, of_features),
                    train, of_features, self.facts.num_classes, float(self.ridge[head]), self.iterations,
                )  # fmt: skip
            with torch.no_grad():
                self.weight[head].copy_(found[key].weight)
                self.bias[head].copy_(found[key].bias)
            self.solved.append(found[key].report)

    def keys(self) -> list[tuple[float, ...]]:
        """What the solution of each head depends on."""
        return list(zip(self.tau.tolist(), self.ridge.tolist(), self.epsilon.tolist(), strict=True))

    def losses(self, rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, head: int, of_features: Moments) -> Tensor:
        """Loss per sample (B,) of features (B, D), in float64."""
        return smoothed_cross_entropy(rows @ weight.T + bias + self.adjustment(head), labels, self.epsilon[head].item())

    def adjustment(self, head: int) -> Tensor:
        """tau log pi (K,)."""
        return log_prior(self.class_counts.double(), self.tau[head])


class MarginalLA(ConvexLA):
    """The logit-adjusted loss under Gaussian noise on the features, wider for rare classes, minimised exactly.

    ``l_i = CE(T(z_i), y)`` with h_i replaced by h_i + e, e normal with covariance lambda_y S, in the closed upper bound of its mean:
    ``T(z)_c = z_c + tau log pi_c + lambda_y / 2 (w_c - w_y)^T S (w_c - w_y)``; plus ridge / 2 ||W||^2. S is the covariance of training features within classes,
    ``lambda_c = spread (n_c / n_max)^-rarity`` scaled so that its mean over training samples is ``spread``. Convex too, as each exponent is.

    The thought behind it: stage 1 has memorised its training images, so their features lie closer together than those of new images, more so for rare classes; the
    noise restores the overlap that a prior acts on. What it brings is a weaker dependence on the ridge. The bound is that of implicit semantic data augmentation (Wang et al., NeurIPS 2019), there
    with a covariance per class in end-to-end training; one covariance for all with a width per class, a prior and an exact solution are ours. Hyper-parameters were
    chosen on unseen validation images (docs/findings.md).

    Args:
        facts: what the data know.
        tau: strength of the adjustment.
        ridge: penalty on W, per sample.
        spread: lambda, mean over the training samples.
        rarity: how much wider the noise of rare classes is; 0 for equal.
        iterations: at most so many of L-BFGS.
        recipe: fields of ``Recipe``; without effect, nothing is fitted by steps.
    """

    name = "marginal_la"
    selected_on_val = True
    paper = "this suite; bound of Wang et al., Implicit Semantic Data Augmentation for Deep Networks, NeurIPS 2019"
    grid = {"spread": (0.1, 0.3, 1.0, 3.0), "ridge": (2e-3, 1e-2)}

    def __init__(
        self,
        facts: Facts,
        *,
        tau: float = 1.0,
        ridge: float = 2e-3,
        spread: float = 0.3,
        rarity: float = 0.5,
        iterations: int = 100,
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, tau=tau, ridge=ridge, iterations=iterations, **recipe)
        check_range(self.name, "spread", spread, 0.0, 1e3)
        check_range(self.name, "rarity", rarity, 0.0, 2.0)
        counts = self.class_counts.clamp_min(1)
        width = (counts / counts.max()) ** -self.one_per_head(rarity)[:, None]
        mean = (width * self.class_counts).sum(1, keepdim=True) / self.class_counts.sum()
        self.width = torch.nn.Buffer(self.one_per_head(spread)[:, None] * width / mean, persistent=False)

    def keys(self) -> list[tuple[float, ...]]:
        """What the solution of each head depends on."""
        return [(*key, *width) for key, width in zip(super().keys(), self.width.tolist(), strict=True)]

    def losses(self, rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, head: int, of_features: Moments) -> Tensor:
        """The bound per sample, written with h_i moved against its own row: no table of class pairs arises."""
        spread = weight @ of_features.within
        own = per_class(self.width[head].double(), labels).unsqueeze(1)
        moved = rows - own * spread[labels]
        logits = moved @ weight.T + bias + self.adjustment(head) + own / 2 * (spread * weight).sum(1)
        return smoothed_cross_entropy(logits, labels, 0.0)
