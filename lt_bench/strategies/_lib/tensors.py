"""Tensors of one head or of a stack: linear heads side by side, rows of one length, tables looked up per sample."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lt_bench.core.inference_heads import SHORTEST


def random_linear(seed: int, K: int, D: int) -> tuple[Tensor, Tensor]:
    """torch's default initialisation of ``nn.Linear(D, K)``, uniform in +-1/sqrt(D): weight (K, D), bias (K,)."""
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.rand(K, D, generator=generator) * 2 - 1) / D**0.5
    return weight, (torch.rand(K, generator=generator) * 2 - 1) / D**0.5


def linear(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Logits of one head (B, K), or of a stack (H, B, K) as ``stacked_linear`` makes them."""
    return F.linear(features, weight, bias) if weight.dim() == 2 else stacked_linear(features, weight, bias)


def stacked_linear(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``features @ weight^T + bias`` for a stack.

    Args:
        features: (S, B, D), S = 1, a divisor of H, or H; heads h with equal h // (H / S) share their features.
        weight: (H, K, D).
        bias: (H, K) or None.

    Returns:
        (H, B, K), laid out as (H, K, B).
    """
    H, K, D = weight.shape
    S, B, _ = features.shape
    # Classes as rows, samples as columns: the CPU is faster with products of this shape and of their way back, and heads that share features are one product.
    columns = torch.bmm(weight.reshape(S, H // S * K, D), features.transpose(1, 2)).view(H, K, B)
    if bias is not None:
        columns = columns.add_(bias.unsqueeze(-1))  # baddbmm copies the bias first, which costs more
    return columns.transpose(1, 2)


def product(residual: Tensor, features: Tensor, shape: torch.Size, out: Tensor | None = None) -> Tensor:
    """The gradient for the weights (H, K, D) of ``stacked_linear``, given the gradient for its logits (H, B, K) and its features (S, B, D)."""
    H, K, D = shape
    S, B, _ = features.shape
    columns = residual.transpose(1, 2).reshape(S, H // S * K, B)
    return torch.bmm(columns, features, out=None if out is None else out.view(S, H // S * K, D)).view(shape)


def of_length(rows: Tensor, length: Tensor | float = 1.0) -> Tensor:
    """Rows (..., D) brought to a length above 0 that broadcasts over (..., 1). A row of zeros stays one."""
    if isinstance(length, Tensor) and length.requires_grad:
        return _OfLength.apply(rows, 1.0) * length
    return _OfLength.apply(rows, length)


def inverse_lengths(rows: Tensor) -> Tensor:
    """1 / max(||row||, ``SHORTEST``), (..., 1), of rows (..., D)."""
    return torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_min_(SHORTEST).reciprocal_()


def not_of_short(along: Tensor, inverse: Tensor) -> Tensor:
    """Set ``along``, the part of a gradient along its row, to 0 in place for rows shorter than ``SHORTEST``, whose factor is a constant."""
    return along.masked_fill_(inverse >= 1 / SHORTEST, 0)


class _OfLength(torch.autograd.Function):
    """Three passes back where autograd makes ten, two of them divisions."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, length: Tensor | float) -> Tensor:
        inverse = inverse_lengths(rows)
        scaled = rows * (inverse * length)
        ctx.length = length
        ctx.save_for_backward(scaled, inverse)
        return scaled

    backward: Any = staticmethod(once_differentiable(lambda ctx, outward: (_less_along(ctx, outward), None)))


def _less_along(ctx: Any, outward: Tensor) -> Tensor:
    """The gradient for the rows: what lies along a row does not reach it."""
    scaled, inverse = ctx.saved_tensors
    along = not_of_short((outward * scaled).sum(-1, keepdim=True) / ctx.length**2, inverse)
    return torch.addcmul(outward, scaled, along, value=-1).mul_(inverse * ctx.length)


def per_class(table: Tensor, labels: Tensor) -> Tensor:
    """``table[k]`` of each sample's class: a table (K,) or (H, K), labels (..., B)."""
    if table.dim() == 1:
        return table[labels]
    return table.gather(-1, labels.expand(*table.shape[:-1], labels.shape[-1]))


def of_head(value: Tensor | float, like: Tensor, dims: int = 0) -> Tensor | float:
    """A hyper-parameter beside tensors that have ``dims`` dimensions after that of the heads: a number as it is, values (H, 1) as (H, 1, ..., 1)."""
    return value.to(like).view(-1, *[1] * dims) if isinstance(value, Tensor) else value


def at_least_float32(logits: Tensor) -> Tensor:
    """Convert logits of half precision to float32; return others unchanged."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def linear_head(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A detached ``nn.Linear`` with this weight (K, D) and bias (K,)."""
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        module.weight.copy_(weight)
        if bias is not None:
            module.bias.copy_(bias)
    return module.requires_grad_(False).eval()


def less_on_true(logits: Tensor, labels: Tensor, amount: Tensor) -> Tensor:
    """Logits (..., B, K) with ``amount`` (..., B) subtracted from those of the true classes."""
    index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    return logits.scatter_add(-1, index, -amount.expand(index.shape[:-1]).unsqueeze(-1).to(logits))
