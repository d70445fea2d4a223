"""Heads without steps at iNaturalist 2018's size and real class counts, features made up, each in a process of its own: seconds beside its matrix products, peak memory.

The fit, and ``QUERIES`` new features after it; all 24,426 test images are ``TEST / QUERIES`` times that. Takes minutes on two cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.speed.inat import LIMIT
from benchmarks.speed.measure import Figure, Setting
from benchmarks.speed.memory import peak
from benchmarks.speed.problems import inat2018
from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.strategies.registry import find

HEADS = ("knn", "lda")
QUERIES, TEST = 512, 24_426
FLOOR_ROWS = 1 << 14


def measure(setting: Setting) -> list[Figure]:
    """Seconds of a fit and of a query beside their matrix products; the peak and what all test images would take in the note."""
    figures = []
    for name in HEADS:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.speed.closed_form", name, setting.device], capture_output=True, text=True, check=True
        )
        costs = json.loads(done.stdout.splitlines()[-1])
        most = f"peak resident memory {costs['peak'] / 2**30:.2f} GiB ({costs['peak'] / LIMIT:.2f} of 8 GiB)"
        whole = f"{QUERIES} queries; {TEST:,} test images would take {costs['query'][0] * TEST:,.0f} s"
        for part, note in (("fit", most), ("query", whole)):
            floor = costs[f"{part}_floor"]
            wall, cpu = costs[part]
            ratio, cpu_ratio = (wall / floor[0], cpu / floor[1]) if floor else (None, None)
            label = f"{name}, {part}"
            figures.append(Figure("closed form", inat2018().label, label, wall, cpu, "products" if floor else None, ratio, cpu_ratio, note))
    return figures


def clocked(function: Callable[[], object]) -> tuple[float, float]:
    """Wall and process seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def products(rows: int, inner: int, columns: int, device: str, dtype: torch.dtype, times: float) -> tuple[float, float]:
    """Wall and process seconds of a bare product (rows, inner) x (inner, columns), times a number."""
    a, b = torch.randn(rows, inner, device=device, dtype=dtype), torch.randn(inner, columns, device=device, dtype=dtype)
    torch.mm(a, b)
    wall, cpu = clocked(lambda: torch.mm(a, b))
    return wall * times, cpu * times


def one(name: str, device: str) -> dict[str, Any]:
    """Wall and process seconds of a head's fit and of a query, of their products, and bytes."""
    size = inat2018()
    split, entry = size.split(device), find(name)
    job, fits = HeadJob(entry, entry.resolve("inat2018", None, {}), 0), []
    fit = clocked(lambda: fits.extend(fit_heads([[job]], size.facts(), split, Hardware("gpu" if device == "cuda" else "cpu"))))
    head = fits[0].head(0).inference_head()
    queries = torch.randn(QUERIES, size.dim, generator=torch.Generator().manual_seed(3)).relu().to(device)
    with torch.inference_mode():
        query = clocked(lambda: head(queries))
    most = peak(device)
    N, K = sum(size.counts), len(size.counts)
    kept = N if name == "knn" else K  # rows that a query is multiplied with
    by_query = products(QUERIES, size.dim, FLOOR_ROWS, device, torch.float32, kept / FLOOR_ROWS / QUERIES)
    scatter = products(size.dim, FLOOR_ROWS, size.dim, device, torch.float64, N / FLOOR_ROWS) if name == "lda" else None
    return {
        "fit": fit, "query": [seconds / QUERIES for seconds in query], "peak": most, "query_floor": by_query, "fit_floor": scatter,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(one(*sys.argv[1:])))
