"""Number of processes that share a suite, and the share of the machine that each gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lt_bench.bench.planning import Planned
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.core.devices import feature_memory
from lt_bench.core.resources import core_quota
from lt_bench.core.threads import threads_worth
from lt_bench.engine.heads.fit import Hardware
from lt_bench.strategies.recipe import recipe_of

WORKER_FLOP = 1e12
"""Products that a worker on the CPU is started for: a guess, some times what its start takes (``benchmarks/speed/startup.py``)."""
WORKER_BYTES = 1 << 30
"""Memory of a worker on the CPU beside its features: Python with torch, a stack of heads, logits."""


@dataclass(frozen=True)
class Work:
    """Cost of a pool of a suite.

    Attributes:
        flop: floating-point operations of the products of all steps.
        product: operations of the product of one head in one step.
        features: bytes of the features.
        solves: whether some heads are fitted by a solver, whose cost is unknown beforehand.
    """

    flop: float
    product: float
    features: int
    solves: bool = False


def work_of(bench: CacheSource, runs: Sequence[Planned]) -> Work:
    """Cost of a pool: operations of its fits by steps, bytes of its features, and whether it has fits by a solver."""
    manifest = bench.manifest
    size, samples = 2.0 * manifest.backbone.dim * manifest.dataset.num_classes, sum(manifest.dataset.train_counts)
    stepping = [run.hyperparameters for run in runs if run.entry.fitting == "sgd"]
    return Work(
        flop=sum(2 * size * samples * recipe_of(chosen, samples).epochs for chosen in stepping),
        product=max((size * chosen["batch_size"] for chosen in stepping), default=0.0),
        features=sum(bench.cache.bytes_of(split) for split in manifest.views),
        solves=any(run.entry.fitting == "solve" for run in runs),
    )


def workers_for(hardware: Hardware, works: Sequence[Work]) -> int:
    """Default number of processes for a suite: one for each CUDA device, else as many as cores, memory and the work itself suggest.

    On the CPU a worker has the threads that a product of one head keeps busy: one at CIFAR's size, ten at ImageNet-LT's with batches of 512.
    """
    if hardware.layout.world > 1 or not works:
        return 1
    if hardware.on_gpu:
        return torch.cuda.device_count()
    by_cores = cores() // threads_worth(max(work.product for work in works))
    by_memory = feature_memory(torch.device("cpu")) // (WORKER_BYTES + max(work.features for work in works))
    by_work = sum(work.flop for work in works) // WORKER_FLOP
    return max(1, int(min(by_cores, by_memory, by_work)))


def cores() -> int:
    """Threads that torch would start, no more than the control groups allow."""
    return int(min(torch.get_num_threads(), core_quota()))


def environments(workers: int, hardware: Hardware) -> list[dict[str, str]]:
    """Environment variables of each worker: its share of the CPU threads and, on GPUs, the one device that it sees, in turn where there are fewer devices than workers."""
    threads = str(max(1, cores() // workers))
    shared = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if not hardware.on_gpu:
        return [shared] * workers
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(torch.cuda.device_count())))).split(",")
    return [{**shared, "CUDA_VISIBLE_DEVICES": visible[number % len(visible)]} for number in range(workers)]
