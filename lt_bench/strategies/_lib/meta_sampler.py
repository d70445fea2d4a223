"""Draws of a learned sampler, and the gradient of the loss on a balanced batch with respect to them. All tensors are those of a stack; one head is a stack of one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lt_bench.strategies._lib.cross_entropy import CrossEntropy
from lt_bench.strategies._lib.tensors import product, stacked_linear


@dataclass(frozen=True)
class Members:
    """Positions of the samples of each class.

    Attributes:
        of_classes: numbers of all samples (N,), ordered by class.
        starts: first position of each class in ``of_classes`` (K,).
        counts: number of samples of each class from ``starts`` on (K,).
    """

    of_classes: Tensor
    starts: Tensor
    counts: Tensor

    def at(self, classes: Tensor, uniform: Tensor) -> Tensor:
        """The sample of each class (...) at the fraction ``uniform`` (...) of its samples."""
        counts = self.counts[classes]
        return self.of_classes[self.starts[classes] + (uniform * counts).long().minimum(counts - 1)]


def split_members(labels: Tensor, num_classes: int, holds_out: bool) -> tuple[Members, Members]:
    """Samples to train on, and samples of the balanced batch: all for both, or with ``holds_out`` a tenth of each class with two or more samples for the balanced batch alone."""
    order = torch.argsort(labels, stable=True)
    every = torch.bincount(labels, minlength=num_classes)
    held_out = (every / 10).ceil().long() * (every > 1) * holds_out
    starts, counts = every.cumsum(0) - every, every - held_out
    balanced_starts = torch.where(held_out > 0, starts + counts, starts)
    return Members(order, starts, counts), Members(order, balanced_starts, torch.where(held_out > 0, held_out, every))


@dataclass(frozen=True)
class Drawn:
    """A drawn batch and a balanced one.

    Attributes:
        rows: numbers v * N + i of the drawn samples (H, B).
        classes: classes of the drawn samples (H, B).
        shares: relaxed draw of the classes (H, B, K), before division by its sum over classes.
        balanced_rows: numbers of the samples of the balanced batch (H, M).
        balanced_classes: classes of these samples (H, M).
    """

    rows: Tensor
    classes: Tensor
    shares: Tensor
    balanced_rows: Tensor
    balanced_classes: Tensor

    def of_rates(self, influence: Tensor) -> Tensor:
        """The gradient for the logarithm of the rates (H, K), given that for the weight of each sample (H, B), through the relaxed draw."""
        soft = self.shares / self.shares.sum(-1, keepdim=True)
        through = influence * soft.gather(-1, self.classes.unsqueeze(-1)).squeeze(-1)
        return torch.zeros_like(soft[:, 0]).scatter_add_(1, self.classes, through) - torch.einsum("hb,hbk->hk", through, soft)


def alignment(features: Tensor, residual: Tensor, outer_features: Tensor, outer_residual: Tensor) -> Tensor:
    """<gradient of each sample's loss, gradient of the outer loss> (H, B), for weight and bias of linear heads.

    Args:
        features: of the samples (H, B, D).
        residual: gradients of their losses for the logits (H, B, K).
        outer_features: of the balanced batch (H, M, D).
        outer_residual: gradients of its loss for the logits (H, M, K).
    """
    H, K, D = residual.shape[0], residual.shape[2], features.shape[2]
    of_weight = product(outer_residual, outer_features, torch.Size((H, K, D)))
    return (stacked_linear(features, of_weight, outer_residual.sum(1)) * residual).sum(-1)


def mean_residual(logits: Tensor, labels: Tensor, *, in_place: bool) -> Tensor:
    """Gradient of the mean cross-entropy of a batch for its logits (H, B, K), (softmax - one-hot) / B."""
    return CrossEntropy(logits, labels, 0.0, in_place=in_place).residual(1 / logits.shape[1])


def adam_direction(gradient: Tensor, mean: Tensor, square: Tensor, steps: Tensor) -> Tensor:
    """The direction of a step of Adam (0.9, 0.999); updates its state (mean, mean square, number of steps)."""
    steps += 1
    mean.lerp_(gradient, 0.1)
    square.lerp_(gradient.square(), 0.001)
    return mean / (1 - 0.9**steps) / ((square / (1 - 0.999**steps)).sqrt() + 1e-8)
