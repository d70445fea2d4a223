"""Softmax cross-entropy towards a smoothed target, with explicit gradient: the loss of most strategies, and most of a step's time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Transform = Callable[..., Tensor]


def shift(transform: Transform) -> Transform:
    """Mark a ``transform`` that only adds terms to the logits that depend neither on the logits nor on parameters, so that gradients pass unchanged.

    The mark belongs to the function: an override without the mark counts as any transform.
    """
    transform.__dict__["is_shift"] = True
    return transform


def constant(sample_weight: Transform) -> Transform:
    """Mark a ``sample_weight`` as constant for the gradient. The mark belongs to the function, as with ``shift``."""
    sample_weight.__dict__["is_constant"] = True
    return sample_weight


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: Tensor | float) -> Tensor:
    """-sum_k q_k log softmax(z)_k with q = (1 - s) one-hot + s / K, per sample (..., B); s is a float or broadcastable to (..., B), and may be trained."""
    return _SmoothedCrossEntropy.apply(logits, labels, smoothing)


class CrossEntropy:
    """The losses of a batch, and their gradient for the logits, given the weight of each loss.

    Args:
        logits: z (..., B, K).
        labels: broadcastable to (..., B).
        smoothing: s, a float or broadcastable to (..., B).
        in_place: whether the logits may be overwritten, by exponentials and then by the gradient.

    Attributes:
        losses: -sum_k q_k log softmax(z)_k (..., B).
    """

    def __init__(self, logits: Tensor, labels: Tensor, smoothing: Tensor | float, *, in_place: bool = False) -> None:
        self._index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
        largest, true = logits.amax(-1, keepdim=True), logits.gather(-1, self._index)
        self._smoothing: Tensor | float = smoothing
        self._logits, self._true = logits, true
        if isinstance(smoothing, Tensor):
            self._smoothing = smoothing = smoothing.to(logits).unsqueeze(-1)
        target = true
        if isinstance(smoothing, Tensor) or smoothing != 0:
            target = torch.lerp(true, logits.mean(-1, keepdim=True), smoothing)
        self._exponentials = (logits.sub_(largest) if in_place else logits - largest).exp_()
        self._total = self._exponentials.sum(-1, keepdim=True)
        self.losses = self._total.log().add_(largest).sub_(target).squeeze(-1)

    @property
    def of_smoothing(self) -> Tensor:
        """The derivative (..., B) of ``losses`` for s: z_y minus the mean logit."""
        assert self._exponentials.data_ptr() != self._logits.data_ptr(), "the logits were overwritten"
        return (self._true - self._logits.mean(-1, keepdim=True)).squeeze(-1)

    def residual(self, slope: Tensor | float = 1.0) -> Tensor:
        """``slope`` (..., B) times softmax(z) - q, (..., B, K); it overwrites the exponentials, so it can be computed only once."""
        slope = slope.unsqueeze(-1) if isinstance(slope, Tensor) else slope
        residual, smoothing = self._exponentials, self._smoothing
        if isinstance(smoothing, Tensor) or smoothing != 0:
            even = slope * (smoothing * (-1 / residual.shape[-1]))
            even = even if isinstance(even, Tensor) else self._total.new_full((1,), even)
            torch.addcmul(even, residual, slope / self._total, out=residual)
        else:
            residual.mul_(slope / self._total)
        true = slope * (smoothing - 1)
        true = true if isinstance(true, Tensor) else self._total.new_full((1,), true)
        return residual.scatter_add_(-1, self._index, true.expand(self._index.shape))


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
    of_mass = (of_smoothing[0] * outward).sum_to_size(ctx.trained) if of_smoothing else None
    return residual * outward.unsqueeze(-1), None, of_mass
