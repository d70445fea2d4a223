"""Heads without steps at iNaturalist 2018's size and real class counts, features made up, each in a process of its own: seconds beside its matrix products, peak memory.

The fit, and ``QUERIES`` new features after it; all 24,426 test images are ``TEST / QUERIES`` times that. Takes minutes on two cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import torch

from benchmarks.speed.inat import LIMIT
from benchmarks.speed.measure import Figure, Setting
from benchmarks.speed.memory import peak
from benchmarks.speed.problems import inat2018
from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.strategies.registry import find

HEADS = ("lda", "knn")
QUERIES, TEST = 512, 24_426
FLOOR_ROWS = 1 << 14


def measure(setting: Setting) -> list[Figure]:
    """Seconds of a fit and of a query beside their matrix products; the peak and what all test images would take in the note."""
    figures = []
    for name in HEADS:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.speed.closed_form", name, setting.device], capture_output=True, text=True, check=True
        )
        said = json.loads(done.stdout.splitlines()[-1])
        note = f"peak resident memory {said['peak'] / 2**30:.2f} GiB ({said['peak'] / LIMIT:.2f} of 8 GiB)"
        floor = said["fit_floor"]
        figures.append(Figure("closed form", inat2018().label, f"{name}, fit", said["fit"], None, "products" if floor else None, said["fit"] / floor if floor else None, None, note))  # fmt: skip
        whole = f"{QUERIES} queries; {TEST:,} test images would take {said['query'] * TEST:,.0f} s"
        figures.append(Figure("closed form", inat2018().label, f"{name}, a query", said["query"], None, "products", said["query"] / said["query_floor"], None, whole))  # fmt: skip
    return figures


def seconds_of_products(rows: int, inner: int, columns: int, device: str, dtype: torch.dtype) -> float:
    """Of a bare product (rows, inner) x (inner, columns)."""
    a, b = torch.randn(rows, inner, device=device, dtype=dtype), torch.randn(inner, columns, device=device, dtype=dtype)
    torch.mm(a, b)
    started = time.perf_counter()
    torch.mm(a, b)
    return time.perf_counter() - started


def one(name: str, device: str) -> dict[str, float]:
    """Seconds and bytes of a head."""
    size = inat2018()
    split, entry = size.split(device), find(name)
    job = HeadJob(entry, entry.resolve("inat2018", None, {}), 0)
    started = time.perf_counter()
    fitted = fit_heads([[job]], size.facts(), split, Hardware("gpu" if device == "cuda" else "cpu"))[0]
    fit, head = time.perf_counter() - started, fitted.head(0).inference_head()
    queries = torch.randn(QUERIES, size.dim, generator=torch.Generator().manual_seed(3)).relu().to(device)
    started = time.perf_counter()
    with torch.inference_mode():
        head(queries)
    query, most = (time.perf_counter() - started) / QUERIES, peak(device)
    del head, fitted, split
    N, K = sum(size.counts), len(size.counts)
    part = N if name == "knn" else K  # what a query is multiplied with
    by_part = seconds_of_products(QUERIES, size.dim, FLOOR_ROWS, device, torch.float32) / FLOOR_ROWS
    scatter = seconds_of_products(size.dim, FLOOR_ROWS, size.dim, device, torch.float64) * N / FLOOR_ROWS
    return {
        "fit": fit,
        "query": query,
        "peak": most,
        "query_floor": by_part * part / QUERIES,
        "fit_floor": scatter if name == "lda" else 0.0,
    }


if __name__ == "__main__":
    print(json.dumps(one(*sys.argv[1:])))
