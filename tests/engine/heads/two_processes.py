"""Fits and measures every registered strategy on the small cache, alone or as one of two gloo processes; run by test_processes.py."""

# ruff: noqa: E402

import functools
import json
import os
import sys
from pathlib import Path

from lt_bench.core.lean_import import import_torchmetrics_alone

import_torchmetrics_alone()  # half of the start

import torch
import torch.distributed as dist
from lightning.fabric.utilities import registry
from torch import multiprocessing

from lt_bench.engine.evaluate import evaluate
from lt_bench.engine.heads.fit import Hardware, facts_of, fit_heads
from lt_bench.engine.heads.stacks import HeadJob, stacks
from lt_bench.features.cache import open_cache
from lt_bench.strategies.registry import find, strategy_names

registry.entry_points = functools.cache(registry.entry_points)  # as in tests/conftest.py
SHORT = {"epochs": 3, "batch_size": 36}
"""145 samples: the last batch has one, so one of two processes has none of it; the last class has one sample, so a share of an epoch lacks it."""


def outcome(name: str, directory: Path, devices: int) -> dict:
    """Metrics and the losses of a strategy at two repetitions, in float64: sums in another order shall not hide behind rounding."""
    cache = open_cache(directory)
    entry = find(name)
    short = SHORT if entry.fitting == "sgd" else {"iterations": 10} if "iterations" in entry.types() else {}
    hyperparameters = entry.resolve("none", None, short)
    jobs = [HeadJob(entry, hyperparameters, repetition) for repetition in (0, 1)]
    fits = fit_heads(
        stacks(jobs, 2), facts_of(cache), cache.split("train"), Hardware("cpu", devices), dtype=torch.float64, held_out=cache.split("val")
    )
    heads = [fitted.head(number) for fitted in fits for number in range(len(fitted.jobs))]
    measures: dict = {"history": [rows for fitted in fits for rows in fitted.history], "steps": [fitted.steps for fitted in fits]}
    for head, split in zip(heads, ("val", "test"), strict=True):
        module, classifier = head.inference_head(), head.classifier_rows()
        features, counts = cache.split(split), cache.manifest.dataset.train_counts
        measured = evaluate(module, (features.view("plain"),), features.labels, counts, classifier=classifier, dtype=torch.float64)
        vectors = {name: vector.tolist() for name, vector in measured.vectors.items()}
        samples = {"predictions": measured.predictions.tolist(), "true_probability": measured.true_probability.tolist()}
        measures[split] = {"scalars": measured.scalars, "vectors": vectors, **samples}
    return measures


def pooled(directory: Path, devices: int) -> dict:
    """Parameters and losses of strategies that are fitted side by side: plain, with a term of the whole batch, a projection, statistics and a batch's weights."""
    cache = open_cache(directory)
    pool = []
    for name in ("los", "lade", "maxnorm", "d_ffds", "ib", "cb"):
        entry = find(name)
        chosen = entry.resolve("none", None, {"epochs": 3, "batch_size": 36, "views": "all"})
        pool.append([HeadJob(entry, chosen, repetition) for repetition in (0, 1)])
    fits = fit_heads(pool, facts_of(cache), cache.split("train"), Hardware("cpu", devices), dtype=torch.float64)
    return {
        fitted.strategy.name: {"history": fitted.history, "weight": fitted.strategy.weight.tolist(), "bias": fitted.strategy.bias.tolist()}
        for fitted in fits
    }


def main(rank: int, directory: Path, cache: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2"}  # as Lightning's own launcher sets them
    dist.init_process_group("gloo", init_method=f"file://{directory / 'rendezvous'}", rank=rank, world_size=2)
    results = {name: outcome(name, cache, 2) for name in strategy_names()} | {"pooled": pooled(cache, 2)}
    (directory / f"{rank}.json").write_text(json.dumps(results))
    dist.destroy_process_group()


if __name__ == "__main__":
    # Forked, so that the imports, which are most of the time, are paid once.
    multiprocessing.start_processes(main, (Path(sys.argv[1]), Path(sys.argv[2])), nprocs=2, start_method="fork")
