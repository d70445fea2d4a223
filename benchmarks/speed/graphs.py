"""On a GPU: a fit replayed from CUDA graphs ends in the head of the eager fit, for every strategy that is captured."""

from __future__ import annotations

import time
from dataclasses import replace

from benchmarks.speed.measure import Figure, Setting
from benchmarks.speed.problems import Size, cifar100_lt
from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.features.cache import FeatureSplit
from lt_bench.strategies.registry import find, strategy_names

HEADS = 3


def measure(setting: Setting) -> list[Figure]:
    """The largest difference of a parameter, relative to its largest entry, in the note; seconds of the two fits as the figures."""
    if setting.device != "cuda":
        setting.notes.append("graphs: only with --device cuda")
        return []
    size = replace(cifar100_lt(), dim=64)
    split = size.split("cuda", rows=2000)
    figures = []
    for name in strategy_names():
        if find(name).fitting == "sgd":
            if setting.left <= 0:
                setting.notes.append(f"graphs: {name} and what follows not compared, no time left")
                break
            figures.append(compared(name, size, split))
    return figures


def compared(name: str, size: Size, split: FeatureSplit) -> Figure:
    """One strategy, four epochs, both ways."""
    entry = find(name)
    chosen = entry.resolve("cifar100_lt", 100, {"epochs": 4, "batch_size": 64})
    jobs = [HeadJob(entry, chosen, head) for head in range(HEADS)]
    seconds, fitted = {}, {}
    for graphs in (False, True):
        started = time.perf_counter()
        fitted[graphs] = fit_heads([jobs], size.facts(), split, Hardware("gpu", 1, graphs))[0]
        seconds[graphs] = time.perf_counter() - started
    gaps = [
        float((one - other).abs().max() / one.abs().max().clamp_min(1e-12))
        for one, other in zip(fitted[False].strategy.parameters(), fitted[True].strategy.parameters(), strict=True)
    ]
    captured = "captured" if fitted[True].strategy.capture is not None else "not captured"
    steps = fitted[True].steps
    ratio = seconds[True] / seconds[False]
    note = f"{captured}; largest relative difference of a parameter {max(gaps):.1e}"
    return Figure(
        "graphs, set-up included",
        f"2,000 x 64, K 100, {HEADS} heads",
        name,
        seconds[True] / steps,
        seconds[True] / steps,
        "eager",
        ratio,
        None,
        note,
    )
