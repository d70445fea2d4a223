"""Cost of denormal numbers to a fit that has learnt its samples: cross-entropy at lr 2 on the shipped features, with them and with zeros in their place."""

from __future__ import annotations

from contextlib import nullcontext
from unittest.mock import patch

from benchmarks.speed.measure import Contestant, Figure, Setting, race
from lt_bench.engine.heads import fit
from lt_bench.engine.heads.fit import Hardware, facts_of, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.features.cache import open_cache
from lt_bench.features.locate import shipped
from lt_bench.strategies.registry import find

HEADS, EPOCHS = 3, 10


def measure(setting: Setting) -> list[Figure]:
    """Seconds a step, on a CPU; other devices have no such difference."""
    if setting.device != "cpu":
        return []
    cache, entry = open_cache(min(path.parent for path in shipped("checkpoints").glob("*/manifest.json"))), find("ce")
    train, facts = cache.split("train"), facts_of(cache)
    chosen = entry.resolve("cifar100_lt", 100, {"lr": 2.0, "weight_decay": 0.0, "epochs": EPOCHS})
    jobs = [HeadJob(entry, chosen, repetition) for repetition in range(HEADS)]

    def flushed() -> int:
        return fit_heads([jobs], facts, train, Hardware("cpu"))[0].steps

    def kept() -> int:
        with patch.object(fit, "computing", lambda matmul: nullcontext()):
            return flushed()

    contestants: dict[str, Contestant] = {"zeros, as fits have it": flushed, "denormal numbers kept": kept}
    return race(
        setting,
        "denormal numbers",
        f"ce at lr 2, {HEADS} heads, {EPOCHS} epochs",
        contestants,
        {"denormal numbers kept": "zeros, as fits have it"},
    )
