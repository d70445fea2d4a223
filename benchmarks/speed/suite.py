"""Time to leaderboard on the shipped cache: every strategy x seeds fitted, measured, recorded and tabulated, beside its matrix products.

Once in one process, and once by as many workers as ``bench`` takes of itself. The products, measured alone: forward and weight gradient of every training step, batched over the seeds of a strategy (fits go further: strategies that share their batches are one product), and one of every view that a head is
evaluated on, the flipped test view with the plain one. What a strategy multiplies beyond that (solvers, inner steps of a meta sampler) is not counted.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.speed.measure import Figure, Setting, process_seconds
from benchmarks.speed.problems import products, step
from lt_bench.bench.execute import execute
from lt_bench.bench.planning import Planned, plan
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.sharing import workers_for
from lt_bench.bench.suite.units import Fitter, Watcher, fit_units, units_of
from lt_bench.core.threads import threads_for
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import FeatureCache, open_cache
from lt_bench.features.locate import shipped
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store
from lt_bench.strategies.recipe import recipe_of
from lt_bench.strategies.registry import find, strategy_names

SEEDS = 5
QUICK = {"los", "ce", "tau_norm"}


@dataclass(frozen=True)
class Clock:
    """Wall and process seconds."""

    wall: float
    cpu: float

    def __add__(self, other: Clock) -> Clock:
        return Clock(self.wall + other.wall, self.cpu + other.cpu)


def measure(setting: Setting) -> list[Figure]:
    """Official epochs, all strategies in one go as ``bench`` does it; quick runs take three strategies. Times are totals, not per step."""
    cache = open_cache(min(path.parent for path in shipped("checkpoints").glob("*/manifest.json")))
    bench = CacheSource(cache, Hardware("gpu" if setting.device == "cuda" else "cpu"))
    for split in cache.manifest.views:
        bench.split(split)
    plans = {name: planned_of(name, cache) for name in strategy_names() if not setting.quick or name in QUICK}
    alone = {name: products_of(setting, planned, cache) for name, planned in plans.items()}
    size, records = f"{cache.path.name}, {SEEDS} seeds", []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LT_BENCH_HOME"] = folder
        store, fitter = Store(Path(folder) / "results"), Fitter(Path(folder) / "shared")
        everything = [run for planned in plans.values() for run in planned]
        failed: list[str] = []
        whole = clocked(setting, lambda: failed.extend(execute(bench, everything, store, records.append)))
        board = clocked(setting, lambda: leaderboard(store.directory, statistics=False).write(Path(folder) / "board"))
        units = units_of(bench, everything)
        workers = workers_for(bench.hardware, [unit.work for unit in units])
        by_workers = clocked(setting, lambda: failed.extend(fit_units(units, workers, fitter, Watcher())))
        if failed:
            raise RuntimeError(f"fits failed: {failed}")
    figures = [of_strategy(size, name, records, alone[name]) for name in plans]
    by_steps = Clock(
        *(sum(r.time.fit_s + r.time.evaluate_s for r in records if find(r.identity.strategy).fitting == "sgd") for _ in range(2))
    )
    floor = sum((clock for name, clock in alone.items() if find(name).fitting == "sgd"), Clock(0, 0))
    total = sum(alone.values(), Clock(0, 0))
    return [
        *figures,
        replace(figure(size, "those fitted by steps, from their records", by_steps, floor), cpu=None, cpu_ratio=None),
        figure(size, f"all {len(plans)} strategies above, fitted and recorded", whole, total),
        figure(size, "the same and the leaderboard", whole + board, total),
        figure(size, f"the same without it, by {workers} worker{'s' if workers > 1 else ''}, their start included", by_workers, total),
    ]


def of_strategy(size: str, name: str, records: list[RunRecord], alone: Clock) -> Figure:
    """Seconds of a strategy by its records: its part of fits that it shared with others, and the evaluation of its heads."""
    seconds = sum(record.time.fit_s + record.time.evaluate_s for record in records if record.identity.strategy == name)
    return replace(figure(size, name, Clock(seconds, seconds), alone), cpu=None, cpu_ratio=None)


def planned_of(name: str, cache: FeatureCache) -> list[Planned]:
    """Its runs, official."""
    return plan(find(name), cache.manifest, {}, range(SEEDS))


def products_of(setting: Setting, planned: list[Planned], cache: FeatureCache) -> Clock:
    """The products of training and of evaluation."""
    return of_training(setting, planned, cache) + of_evaluation(setting, planned, cache)


def of_training(setting: Setting, planned: list[Planned], cache: FeatureCache) -> Clock:
    """The two batched products of every training step, measured over some hundred steps of the same shape."""
    if planned[0].entry.fitting != "sgd":
        return Clock(0, 0)
    chosen, manifest = planned[0].hyperparameters, cache.manifest
    K, D, B = manifest.dataset.num_classes, manifest.backbone.dim, chosen["batch_size"]
    operands = products(len(planned), B, D, K, setting.device)
    samples = sum(manifest.dataset.train_counts)
    recipe = recipe_of(chosen, samples)
    steps, sampled = recipe.iterations or recipe.epochs * recipe.steps_of_epoch(samples), 300

    def run() -> None:
        with threads_for(2 * B * D * K * len(planned)):
            for _ in range(sampled):
                step(*operands)

    run()
    some = clocked(setting, run)
    return Clock(some.wall * steps / sampled, some.cpu * steps / sampled)


def of_evaluation(setting: Setting, planned: list[Planned], cache: FeatureCache) -> Clock:
    """One product a view and head: test, test again with its flipped view, the plain training view, validation."""
    manifest = cache.manifest
    weight = torch.randn(manifest.dataset.num_classes, manifest.backbone.dim, device=setting.device)
    rows = [manifest.arrays[f"{split}/labels"].shape[0] for split in manifest.views]
    rows += [manifest.arrays["test/labels"].shape[0]] * (2 if "flip" in manifest.views["test"] else 0)
    features = torch.randn(max(rows), manifest.backbone.dim, device=setting.device)

    def run() -> None:
        for count in rows:
            torch.mm(features[:count], weight.T)

    run()
    one = clocked(setting, run)
    return Clock(one.wall * len(planned), one.cpu * len(planned))


def clocked(setting: Setting, function: Callable[[], object]) -> Clock:
    """Seconds of a call."""
    setting.synchronise()
    wall, cpu = time.perf_counter(), process_seconds()
    function()
    setting.synchronise()
    return Clock(time.perf_counter() - wall, process_seconds() - cpu)


def figure(size: str, name: str, whole: Clock, alone: Clock) -> Figure:
    """A total beside its products."""
    ratios = whole.wall / alone.wall, whole.cpu / alone.cpu
    return Figure(
        "time to leaderboard",
        size,
        name,
        whole.wall,
        whole.cpu,
        "products alone",
        *ratios,
        f"products {alone.wall:.2f} s",
    )
