"""Softmax cross-entropy towards a smoothed target, with its gradient written down: most strategies end in it, and a head's step is little else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lt_bench.errors import UserError

Transform = Callable[..., Tensor]


def shift(transform: Transform) -> Transform:
    """Marks a ``transform`` that only adds to the logits what depends neither on them nor on parameters, so that the gradient passes it unchanged.

    The mark is that of the function: an override without it counts as any transform.
    """
    transform.__dict__["is_shift"] = True
    return transform


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: Tensor | float) -> Tensor:
    """-sum_k q_k log softmax(z)_k with q = (1 - s) one-hot + s / K, per sample (..., B); s is a float or broadcastable to (..., B).

    Raises:
        UserError: s is trained; its gradient is not written down here.
    """
    return _SmoothedCrossEntropy.apply(logits, labels.expand(logits.shape[:-1]).unsqueeze(-1), smoothing)


def cross_entropy_and_residual(logits: Tensor, labels: Tensor, smoothing: Tensor | float) -> tuple[Tensor, Tensor]:
    """The same losses (..., B), and their gradient for the logits, softmax(z) - q (..., B, K).

    log sum exp z is max z - log max p: the largest probability is at least 1 / K, so its logarithm is safe, and no second exponential is needed.
    """
    return _with_residual(logits, labels.expand(logits.shape[:-1]).unsqueeze(-1), smoothing)


class _SmoothedCrossEntropy(torch.autograd.Function):
    """One node where autograd would make ten."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor, smoothing: Tensor | float) -> Tensor:
        if ctx.needs_input_grad[2]:
            raise UserError(
                "smoothed_cross_entropy takes its smoothing for a constant; where it is trained, write the loss with log_softmax"
            )
        losses, residual = _with_residual(logits, index, smoothing)
        ctx.save_for_backward(residual)
        return losses

    backward: Any = staticmethod(once_differentiable(lambda ctx, outward: (ctx.saved_tensors[0] * outward.unsqueeze(-1), None, None)))


def _with_residual(logits: Tensor, index: Tensor, smoothing: Tensor | float) -> tuple[Tensor, Tensor]:
    p = torch.softmax(logits, -1)
    partition = logits.amax(-1) - p.amax(-1).log_()
    true = logits.gather(-1, index).squeeze(-1)
    if not isinstance(smoothing, Tensor):
        p.scatter_(-1, index, smoothing - 1.0, reduce="add")
        if smoothing == 0:
            return partition.sub_(true), p
        p.sub_(smoothing / p.shape[-1])
        return partition.sub_(true, alpha=1 - smoothing).sub_(logits.mean(-1), alpha=smoothing), p
    losses = partition.sub_((1 - smoothing) * true).sub_(smoothing * logits.mean(-1))
    spread = smoothing.to(p).expand(p.shape[:-1]).unsqueeze(-1)
    return losses, p.sub_(spread / p.shape[-1]).scatter_add_(-1, index, spread - 1)
