"""Tensors of a stack: linear heads side by side, rows of one length, tables looked up per sample, logits of all processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lt_bench.core.inference_heads import SHORTEST


def random_linear(seeds: tuple[int, ...], K: int, D: int) -> tuple[Tensor, Tensor]:
    """torch's default initialisation of ``nn.Linear(D, K)``, uniform in +-1/sqrt(D), for each seed: weight (H, K, D), bias (H, K)."""
    weights, biases = [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        weights.append((torch.rand(K, D, generator=generator) * 2 - 1) / D**0.5)
        biases.append((torch.rand(K, generator=generator) * 2 - 1) / D**0.5)
    return torch.stack(weights), torch.stack(biases)


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


def of_length(rows: Tensor, length: Tensor | float = 1.0) -> Tensor:
    """Rows (..., D) brought to a length above 0 that broadcasts over (..., 1). A row of zeros stays one."""
    if isinstance(length, Tensor) and length.requires_grad:
        return _OfLength.apply(rows, 1.0) * length
    return _OfLength.apply(rows, length)


def inverse_lengths(rows: Tensor) -> Tensor:
    """1 / ||row|| (..., 1) of rows (..., D), of shorter ones that of ``SHORTEST``."""
    return torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_min_(SHORTEST).reciprocal_()


def not_of_short(along: Tensor, inverse: Tensor) -> Tensor:
    """What lies along rows and does not reach them, 0 where a row is so short that it is multiplied by a constant; in place."""
    return along.masked_fill_(inverse >= 1 / SHORTEST, 0)


class _OfLength(torch.autograd.Function):
    """Three passes back where autograd makes ten, two of them divisions."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, length: Tensor | float) -> Tensor:
        inverse = inverse_lengths(rows)
        found = rows * (inverse * length)
        ctx.length = length
        ctx.save_for_backward(found, inverse)
        return found

    backward: Any = staticmethod(once_differentiable(lambda ctx, outward: (_less_along(ctx, outward), None)))


def _less_along(ctx: Any, outward: Tensor) -> Tensor:
    """The gradient for the rows: what lies along a row does not reach it."""
    found, inverse = ctx.saved_tensors
    along = not_of_short((outward * found).sum(-1, keepdim=True) / ctx.length**2, inverse)
    return torch.addcmul(outward, found, along, value=-1).mul_(inverse * ctx.length)


def per_class(table: Tensor, labels: Tensor) -> Tensor:
    """``table[k]`` of each sample's class: a table (K,) or (H, K), labels (..., B)."""
    if table.dim() == 1:
        return table[labels]
    return table.gather(-1, labels.expand(*table.shape[:-1], labels.shape[-1]))


def at_least_float32(logits: Tensor) -> Tensor:
    """Half precision logits as float32, others as they are."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def linear_head(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A detached ``nn.Linear`` with this weight (K, D) and bias (K,)."""
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        module.weight.copy_(weight)
        if bias is not None:
            module.bias.copy_(bias)
    return module.requires_grad_(False).eval()


def gathered(logits: Tensor, rank: int, world: int, total: int) -> Tensor:
    """Logits (H, B, K) of all processes in the order of the global batch; gradients flow back to each process's share."""
    if world == 1:
        return logits
    from torch.distributed.nn.functional import all_gather  # only with processes

    size = -(-total // world)
    padded = F.pad(logits, (0, 0, 0, size - logits.shape[1]))
    pieces = torch.stack(all_gather(padded.contiguous()), dim=2)  # (H, size, world, K): column i of rank r is sample i * world + r
    return pieces.reshape(logits.shape[0], size * world, -1)[:, :total]
