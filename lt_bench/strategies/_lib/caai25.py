"""Cosines with adapted features, an angular margin, and the uniformity of directions, with explicit gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lt_bench.core.inference_heads import SHORTEST
from lt_bench.strategies._lib.tensors import at_least_float32, inverse_lengths, not_of_short, product, stacked_linear


def adapted_cosines(features: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, scale: Tensor | float) -> tuple[Tensor, Tensor]:
    """``s cos(f, w)`` (H, B, K), laid out as by ``stacked_linear``, and ``||f||`` (H, B), at least float32, of ``f = gamma * h + beta``.

    Args:
        features: h (1, S or H; B; D).
        weight: w (H, K, D).
        gamma: (H, 1, D).
        beta: (H, 1, D).
        scale: s, a number or (H, 1, 1).
    """
    return _AdaptedCosines.apply(features, weight, gamma, beta, scale)


def turned(logits: Tensor, labels: Tensor, margin: Tensor, scale: Tensor) -> Tensor:
    """``s cos(theta)`` (..., B, K) with ``s cos(theta + margin)`` for the true class, or ``s (cos theta - margin sin margin)`` for theta > pi - margin.

    Args:
        logits: (..., B, K).
        labels: broadcastable to (..., B).
        margin: in radians, broadcastable to (..., B).
        scale: s, broadcastable to (..., B).
    """
    return _Turned.apply(logits, labels.expand(logits.shape[:-1]).unsqueeze(-1), margin, scale)


def log_mean_potential(rows: Tensor) -> Tensor:
    """``log mean exp(-2 ||u_a - u_b||^2)`` over pairs a != b of the directions u of rows (H, R, D): (H,)."""
    return _LogMeanPotential.apply(rows)


class _AdaptedCosines(torch.autograd.Function):
    """Explicit gradient with two passes over features (H, B, D) forwards and one back, where autograd needs about ten.

    The gradients of gamma and beta through the products w.f = (gamma * w).h + w.beta follow from that of the rows; those through the norms follow from two sums
    over the samples, as ||f||^2 = gamma^2.h^2 + 2 (gamma * beta).h + ||beta||^2.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, scale: Tensor | float) -> tuple[Tensor, Tensor]:
        S = features.shape[0]
        adapted = torch.addcmul(beta.unflatten(0, (S, -1)), features.unsqueeze(1), gamma.unflatten(0, (S, -1))).flatten(0, 1)
        norms = torch.linalg.vector_norm(at_least_float32(adapted), dim=-1, keepdim=True)
        inverse = norms.clamp_min(SHORTEST).reciprocal_()
        cosines = stacked_linear(adapted, weight, None).mul_(inverse)
        inverse_of_rows = inverse_lengths(weight).transpose(1, 2)
        ctx.scale = scale
        cosines.mul_(inverse_of_rows * scale)
        ctx.save_for_backward(features, weight, gamma, beta, inverse, inverse_of_rows, cosines)
        return cosines, norms.squeeze(-1)

    backward: Any = staticmethod(once_differentiable(lambda ctx, outward, of_norms: _adapted_back(ctx, outward, of_norms)))


def _adapted_back(ctx: Any, outward: Tensor, of_norms: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients for weight, gamma and beta, given those for the cosines and for the norms."""
    features, weight, gamma, beta, inverse, inverse_of_rows, cosines = ctx.saved_tensors
    residual = outward.mul(inverse_of_rows * ctx.scale).mul_(inverse)
    along = outward * cosines
    of_squares = (of_norms.unsqueeze(-1) - along.sum(-1, keepdim=True) * inverse) * inverse  # twice the gradient for ||f||^2
    of_squares = not_of_short(of_squares, inverse).to(features.dtype)
    crossed, direct = (product(of_squares, tensor, gamma.shape) for tensor in (features, features.square()))
    of_shift = residual.sum(1).unsqueeze(-1)
    of_rows = product(residual, features, weight.shape)
    ones = weight.new_ones(1, 1, 1).expand(weight.shape[0], 1, weight.shape[1])  # a product with them is the faster sum
    of_gamma = torch.bmm(ones, weight * of_rows).addcmul_(direct, gamma).addcmul_(crossed, beta)
    of_beta = torch.bmm(of_shift.transpose(1, 2), weight).addcmul_(crossed, gamma).addcmul_(of_squares.sum(1, keepdim=True), beta)
    inwards = not_of_short(along.sum(1, keepdim=True) * inverse_of_rows.square(), inverse_of_rows).transpose(1, 2)
    of_weight = of_rows.mul_(gamma).addcmul_(of_shift, beta).addcmul_(weight, inwards, value=-1)
    of_features = _through_adapter(ctx, torch.bmm(residual, weight), of_squares) if ctx.needs_input_grad[0] else None
    return of_features, of_weight, of_gamma, of_beta, None


def _through_adapter(ctx: Any, of_products: Tensor, of_squares: Tensor) -> Tensor:
    """The gradient for the features h, for fits that train their network; the gradient for f is the sum of its parts through the products and through ||f||."""
    features, _, gamma, beta, *_ = ctx.saved_tensors
    S = features.shape[0]
    gamma, beta, of_products, of_squares = (tensor.unflatten(0, (S, -1)) for tensor in (gamma, beta, of_products, of_squares))
    adapted = torch.addcmul(beta, features.unsqueeze(1), gamma)
    return of_products.addcmul(of_squares, adapted).mul_(gamma).sum(1)


class _Turned(torch.autograd.Function):
    """Two passes over the logits where autograd makes five."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor, margin: Tensor, scale: Tensor) -> Tensor:
        cosine, cos, sin = logits.gather(-1, index).squeeze(-1) / scale, margin.cos(), margin.sin()
        squared = 1 - cosine.square()
        sine, within = squared.clamp_min(1e-12).sqrt_(), cosine > -cos
        slope = torch.where(within, cos + (squared > 1e-12) * sin * cosine / sine, 1)
        ctx.save_for_backward(index, slope)
        true = torch.where(within, cosine * cos - sine * sin, cosine - margin * sin) * scale
        return logits.clone().scatter_(-1, index, true.unsqueeze(-1))  # scatter would lose the layout

    backward: Any = staticmethod(once_differentiable(lambda ctx, outward: _turned_back(ctx, outward)))


def _turned_back(ctx: Any, outward: Tensor) -> tuple[Tensor | None, ...]:
    """The gradient for the logits."""
    index, slope = ctx.saved_tensors
    return outward.clone().scatter_(-1, index, outward.gather(-1, index) * slope.unsqueeze(-1)), None, None, None


class _LogMeanPotential(torch.autograd.Function):
    """One product back where autograd makes two: each pair is met from both its sides."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        R = rows.shape[1]
        energy = torch.bmm(rows, rows.transpose(1, 2))
        inverse = energy.diagonal(dim1=1, dim2=2).sqrt().clamp_min_(SHORTEST).reciprocal_().unsqueeze(-1)
        both = inverse * inverse.transpose(1, 2)
        energy.mul_(both).mul_(4)  # 4 cos, and -2 ||u_a - u_b||^2 is 4 cos - 4
        potential = energy.exp()
        potential.diagonal(dim1=1, dim2=2).zero_()
        total = potential.sum((1, 2))
        inwards = not_of_short((potential * energy).sum(-1), inverse.squeeze(-1)).mul_(inverse.squeeze(-1).square())
        slopes = potential.mul_(both).mul_(4)
        slopes.diagonal(dim1=1, dim2=2).sub_(inwards)
        ctx.save_for_backward(rows, slopes, total)
        return (total / (R * (R - 1))).log() - 4

    backward: Any = staticmethod(once_differentiable(lambda ctx, outward: _potential_back(ctx, outward)))


def _potential_back(ctx: Any, outward: Tensor) -> Tensor:
    """The gradient for the rows."""
    rows, slopes, total = ctx.saved_tensors
    return torch.bmm(slopes * (2 * outward / total).view(-1, 1, 1), rows)
