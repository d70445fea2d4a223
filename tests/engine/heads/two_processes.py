"""Fits and measures every registered strategy on the small cache, alone or as one of two gloo processes; started by test_processes.py."""

import json
import os
from pathlib import Path

import torch
import torch.distributed as dist

from lt_bench.engine.evaluate import evaluate
from lt_bench.engine.heads.fit import Fitted, Hardware, facts_of, fit_heads
from lt_bench.engine.heads.stacks import HeadJob, pools, stacks
from lt_bench.features.cache import FeatureSplit, open_cache
from lt_bench.strategies.registry import find, strategy_names

SHORT = {"epochs": 3, "batch_size": 36}
"""145 samples: the last batch has one, so one of two processes has none of it; the last class has one sample, so a share of an epoch lacks it."""


def outcomes(directory: Path, devices: int) -> dict:
    """Heads and losses of every strategy at two repetitions and metrics of the second, in float64: sums in another order shall not hide behind rounding."""
    cache = open_cache(directory)
    train, held_out = cache.split("train"), cache.split("val")
    fits: dict[str, list[Fitted]] = {name: [] for name in strategy_names()}
    for pool in pools(stacks([job for name in fits for job in jobs_of(name)], 2), 40):
        for fitted in fit_heads(pool, facts_of(cache), train, Hardware("cpu", devices), dtype=torch.float64, held_out=held_out):
            fits[fitted.jobs[0].entry.name].append(fitted)
    return {name: measures(of, held_out, cache.manifest.dataset.train_counts) for name, of in fits.items()}


def jobs_of(name: str) -> list[HeadJob]:
    """Short fits of a strategy."""
    entry = find(name)
    short = SHORT if entry.fitting == "sgd" else {"iterations": 10} if "iterations" in entry.types() else {}
    return [HeadJob(entry, entry.resolve("none", None, short), repetition) for repetition in (0, 1)]


def measures(fits: list[Fitted], held_out: FeatureSplit, counts: tuple[int, ...]) -> dict:
    """The compared figures of the fits of a strategy."""
    heads = [fitted.head(number) for fitted in fits for number in range(len(fitted.jobs))]
    modules = [head.inference_head() for head in heads]
    views, rows = (held_out.view("plain"),), heads[1].classifier_rows()
    measured = evaluate(modules[1], views, held_out.labels, counts, classifier=rows, dtype=torch.float64)
    return {
        "history": [rows for fitted in fits for rows in fitted.history],
        "steps": [fitted.steps for fitted in fits],
        "heads": [{name: tensor.tolist() for name, tensor in module.state_dict().items()} for module in modules],
        "scalars": measured.scalars,
        "vectors": {name: vector.tolist() for name, vector in measured.vectors.items()},
        "samples": {"predictions": measured.predictions.tolist(), "true_probability": measured.true_probability.tolist()},
    }


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
    results = outcomes(cache, 2) | {"pooled": pooled(cache, 2)}
    (directory / f"{rank}.json").write_text(json.dumps(results))
    dist.destroy_process_group()
