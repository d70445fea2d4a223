"""How much memory features may take."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import torch

from lt_bench.core.control_groups import memory_left

SHARE = 0.5  # of what is free; the rest is for heads, logits and other programs


def room(device: torch.device, processes: int = 1) -> int:
    """Bytes that features may take on a device: a share of its free memory, on the CPU within the limit of the control group (jobs, containers).

    Args:
        device: where they are to lie.
        processes: how many on this node load them; they share its memory, while every GPU is one process's own.
    """
    if device.type == "cuda":
        return int(SHARE * torch.cuda.mem_get_info(device)[0])
    return int(SHARE * min(_available(), memory_left())) // processes


def _available() -> int:
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
