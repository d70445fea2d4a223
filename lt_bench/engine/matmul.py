"""How exactly a device multiplies float32 matrices while heads are fitted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from lt_bench.errors import UserError

Matmul = Literal["highest", "high", "medium"]


def checked(matmul: Matmul) -> Matmul:
    """The precision, if there is such a one.

    Raises:
        UserError: there is not.
    """
    if matmul not in get_args(Matmul):
        raise UserError(f"matmul {matmul!r} is not one of {', '.join(get_args(Matmul))}")
    return matmul


@contextmanager
def multiplying(matmul: Matmul) -> Iterator[None]:
    """Within the block float32 products are as exact as ``torch.set_float32_matmul_precision`` says.

    ``high`` is TF32 and ``medium`` bfloat16 where the device has units for them (CUDA; CPUs with AMX or AVX-512 BF16), with sums still in float32; else
    they stay as they are.
    """
    import torch  # options name the precisions without it

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(matmul)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
