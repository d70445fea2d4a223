"""How much memory features may take."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import torch

SHARE = 0.5  # of what is free; the rest is for heads, logits and other programs


def room(device: torch.device) -> int:
    """Bytes that features may take on a device: a share of its free memory, on the CPU within the limit of the control group (jobs, containers)."""
    if device.type == "cuda":
        return int(SHARE * torch.cuda.mem_get_info(device)[0])
    return int(SHARE * min(_available(), _left_in_group()))


def _available() -> int:
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _left_in_group() -> int:
    group = Path("/sys/fs/cgroup")
    for limit, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        with suppress(OSError, ValueError):
            return max(0, int((group / limit).read_text(encoding="ascii")) - int((group / used).read_text(encoding="ascii")))
    return 1 << 62
