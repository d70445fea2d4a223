"""Growth of peak memory above the bare imports, beside the cache in its stored precision: a fit of ``los`` at ImageNet-LT size, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.speed.measure import Figure, Setting
from benchmarks.speed.problems import imagenet_lt
from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.strategies.registry import find

EPOCHS = 1


def measure(setting: Setting) -> list[Figure]:
    """Bytes, not seconds, in the note; the ratio is growth over cache."""
    if setting.quick and setting.device == "cpu":
        setting.notes.append("memory: a whole epoch at ImageNet-LT size, only without --quick")
        return []
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "benchmarks.speed.memory", setting.device], capture_output=True, text=True, check=True)
    growth, stored, steps = (int(word) for word in done.stdout.split()[-3:])
    seconds = (time.perf_counter() - started) / steps
    note = f"peak grew by {growth / 2**20:,.0f} MiB over a cache of {stored / 2**20:,.0f} MiB; time is of the whole process a step"
    return [
        Figure("peak memory", imagenet_lt().label, f"los, {steps} steps", seconds, None, "cache as stored", growth / stored, None, note)
    ]


def peak(device: str) -> int:
    """Bytes: of the process on the CPU, of the allocator on a GPU. Not ``ru_maxrss``: a new program begins with that of the one that started it."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found
    return int(found[1]) * 1024


def fit(device: str) -> tuple[int, int, int]:
    """Growth of the peak, bytes of the cache, steps."""
    size, before = imagenet_lt(), peak(device)
    split = size.split(device)
    entry = find("los")
    chosen = entry.resolve("imagenet_lt", None, {"batch_size": size.batch, "epochs": EPOCHS})
    steps = fit_heads([[HeadJob(entry, chosen, 0)]], size.facts(), split, Hardware("gpu" if device == "cuda" else "cpu"))[0].steps
    return peak(device) - before, split.blocks[0].nbytes, steps


if __name__ == "__main__":
    print(*fit(sys.argv[1]))
