"""CPU threads that suit a product: more of them than a small product can feed only wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

FLOP_PER_THREAD = 2e8
"""Operations of a product that are worth one thread: with fewer, a step of 16 heads took three times as long on two threads of a busy machine."""


def threads_worth(flop: float) -> int:
    """Number of the available threads that a product of ``flop`` operations keeps busy, at least one."""
    return max(1, min(torch.get_num_threads(), int(flop / FLOP_PER_THREAD)))


@contextmanager
def threads_for(flop: float) -> Iterator[int]:
    """Within the block torch uses at most one CPU thread per ``FLOP_PER_THREAD`` of the ``flop`` of one product."""
    available = torch.get_num_threads()
    torch.set_num_threads(threads_worth(flop))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(available)
