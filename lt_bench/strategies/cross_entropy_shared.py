"""Softmax cross-entropy towards a smoothed target, with its gradient written down: most strategies end in it, and a head's step is little else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Transform = Callable[..., Tensor]


def shift(transform: Transform) -> Transform:
    """Marks a ``transform`` that only adds to the logits what depends neither on them nor on parameters, so that the gradient passes it unchanged.

    The mark is that of the function: an override without it counts as any transform.
    """
    transform.__dict__["is_shift"] = True
    return transform


def constant(focus: Transform) -> Transform:
    """Marks a ``focus`` that is a constant for the gradient. The mark is that of the function, as with ``shift``."""
    focus.__dict__["is_constant"] = True
    return focus


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: Tensor | float) -> Tensor:
    """-sum_k q_k log softmax(z)_k with q = (1 - s) one-hot + s / K, per sample (..., B); s is a float or broadcastable to (..., B), and may be trained."""
    return _SmoothedCrossEntropy.apply(logits, labels, smoothing)


class CrossEntropy:
    """The losses of a batch, and then their gradient for the logits once it is known how much each loss counts.

    Args:
        logits: z (..., B, K).
        labels: broadcastable to (..., B).
        smoothing: s, a float or broadcastable to (..., B).

    Attributes:
        losses: -sum_k q_k log softmax(z)_k (..., B).
    """

    def __init__(self, logits: Tensor, labels: Tensor, smoothing: Tensor | float) -> None:
        self._index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
        largest = logits.amax(-1, keepdim=True)
        self._exponentials = (logits - largest).exp_()
        self._total = self._exponentials.sum(-1, keepdim=True)
        partition, true = self._total.log().add_(largest), logits.gather(-1, self._index)
        self._smoothing: Tensor | float = smoothing
        self._logits, self._true = logits, true
        if isinstance(smoothing, Tensor):
            self._smoothing = smoothing.to(logits).expand(logits.shape[:-1]).unsqueeze(-1)
            partition.sub_((1 - self._smoothing) * true).sub_(self._smoothing * logits.mean(-1, keepdim=True))
        elif smoothing == 0:
            partition.sub_(true)
        else:
            partition.sub_(true, alpha=1 - smoothing).sub_(logits.mean(-1, keepdim=True), alpha=smoothing)
        self.losses = partition.squeeze(-1)

    @property
    def of_smoothing(self) -> Tensor:
        """The derivative of ``losses`` for s (..., B): z_y less the mean logit."""
        return (self._true - self._logits.mean(-1, keepdim=True)).squeeze(-1)

    def residual(self, slope: Tensor | float = 1.0) -> Tensor:
        """``slope`` (..., B) times softmax(z) - q, (..., B, K); made in place of the exponentials, so it can be had once."""
        slope = slope.unsqueeze(-1) if isinstance(slope, Tensor) else torch.full_like(self._total, slope)
        residual = self._exponentials.mul_(slope / self._total)
        if isinstance(self._smoothing, Tensor) or self._smoothing != 0:
            residual.sub_(slope * (self._smoothing / residual.shape[-1]))
        return residual.scatter_add_(-1, self._index, slope * (self._smoothing - 1))


class _SmoothedCrossEntropy(torch.autograd.Function):
    """One node where autograd would make ten."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, smoothing: Tensor | float) -> Tensor:
        both = CrossEntropy(logits, labels, smoothing)
        ctx.trained = smoothing.shape if isinstance(smoothing, Tensor) and ctx.needs_input_grad[2] else None
        ctx.save_for_backward(*(() if ctx.trained is None else (both.of_smoothing,)), both.residual())
        return both.losses

    backward: Any = staticmethod(once_differentiable(lambda ctx, outward: _slopes(ctx, outward)))


def _slopes(ctx: Any, outward: Tensor) -> tuple[Tensor, None, Tensor | None]:
    """The gradients for logits, labels and smoothing."""
    *of_smoothing, residual = ctx.saved_tensors
    found = (of_smoothing[0] * outward).sum_to_size(ctx.trained) if of_smoothing else None
    return residual * outward.unsqueeze(-1), None, found
