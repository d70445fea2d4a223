"""DDP on the CPU: one head of ImageNet-LT size on 1 and 2 processes of one thread each."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import torch

from benchmarks.speed.measure import Figure, Setting
from benchmarks.speed.problems import imagenet_lt
from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.strategies.registry import find

STEPS = 12


def measure(setting: Setting) -> list[Figure]:
    """Wall seconds of a step, measured inside the first process, set-up left out."""
    if setting.quick:
        setting.notes.append("processes: only without --quick")
        return []
    if setting.device == "cuda":
        setting.notes.append("processes: DDP is measured on the CPU here, one GPU has nothing to share")
        return []
    seconds = {count: min(measured(count) for _ in range(3)) for count in (1, 2)}
    return [
        Figure("DDP", imagenet_lt().label, f"{count} processes of 1 thread", value, None, None if count == 1 else "1 process", value / seconds[1], None, "gloo; best of the rounds")
        for count, value in seconds.items()
    ]  # fmt: skip


def measured(count: int) -> float:
    """Seconds a step on ``count`` processes."""
    words = [sys.executable, "-m", "benchmarks.speed.processes", str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return float(done.stdout.split()[-1])


def fit(count: int) -> float:
    """The difference between a fit of three epochs and one of one, a step."""
    torch.set_num_threads(1)
    size, entry = imagenet_lt(), find("los")
    split, facts, seconds = size.split("cpu", rows=STEPS * size.batch), size.facts(), []
    for epochs in (1, 1, 3):
        started = time.perf_counter()
        job = HeadJob(entry, entry.resolve("imagenet_lt", None, {"batch_size": size.batch, "epochs": epochs}), 0)
        fit_heads([[job]], facts, split, Hardware("cpu", count))
        seconds.append(time.perf_counter() - started)
    return (seconds[2] - seconds[1]) / (2 * STEPS)


if __name__ == "__main__":
    result = fit(int(sys.argv[1]))
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        print(result)
