"""Arithmetic of a device while heads are fitted: precision of float32 products, and no denormal numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from lt_bench.core.errors import UserError

Matmul = Literal["highest", "high", "medium"]


def checked(matmul: Matmul) -> Matmul:
    """Check the name of a precision of float32 products, and return it.

    Raises:
        UserError: no such precision.
    """
    if matmul not in get_args(Matmul):
        raise UserError(f"matmul {matmul!r} is not one of {', '.join(get_args(Matmul))}")
    return matmul


@contextmanager
def computing(matmul: Matmul) -> Iterator[None]:
    """Within the block float32 products are as exact as ``torch.set_float32_matmul_precision`` says.

    ``high`` is TF32 and ``medium`` bfloat16 where the device has units for them (CUDA; CPUs with AMX or AVX-512 BF16), with sums still in float32; else
    they stay as they are. Numbers under 1e-38 are zero on a CPU: a fit that has learnt its samples is full of them, and slow without this
    (``benchmarks/speed/denormals.py``). Threads that torch started before the block keep their own treatment of such numbers.
    """
    import torch  # options name the precisions without it

    before, flushed = torch.get_float32_matmul_precision(), bool(torch.tensor(1e-40) * 1 == 0)
    torch.set_float32_matmul_precision(matmul)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.set_flush_denormal(flushed)
