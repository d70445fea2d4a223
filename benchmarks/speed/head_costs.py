"""Heads on the shipped features beside the matrix products that they make: seconds of a fit and peak memory, each head in a process of its own.

The products of one fit are recorded by their shapes and strides, and made again on other numbers, as often and on as many threads: the floor of a head is its own
arithmetic. Factorisations, sorts and what scikit-learn or imbalanced-learn compute are not in it. Takes a quarter of an hour.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.speed.measure import Figure, Setting, as_rows, race
from benchmarks.speed.memory import peak
from lt_bench.bench.planning import plan
from lt_bench.engine.heads.fit import Hardware, facts_of, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.features.cache import open_cache
from lt_bench.features.locate import shipped
from lt_bench.strategies.registry import find

HEADS = (
    "los", "ncm", "knn", "lda", "qda", "ridge", "logistic", "npe", "repair", "scatter_prototypes", "los_prototypes", "lift", "ala", "arb", "vs_adrw", "etf",
    "feature_mixup", "h2t", "smote", "tailcalib", "sam", "imbsam", "ensemble(crt+los)",
)  # fmt: skip
QUICK = ("los", "lda", "logistic")
MULTIPLY = {"mm", "bmm", "addmm", "addmm_", "baddbmm", "baddbmm_", "addbmm", "mv", "addmv"}
SECONDS = 10  # of a head, after which no round begins
CHUNK = 512
Shape = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


class Products(TorchDispatchMode):
    """Counts the products of what runs within: operation, shape, stride and type of its operands, threads."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[Any, tuple[Shape, ...], int]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Note an operation and run it."""
        if func.overloadpacket.__name__ in MULTIPLY:
            shapes = tuple((tuple(one.shape), one.stride(), one.dtype) for one in args if isinstance(one, Tensor))
            self.counts[func.overloadpacket, shapes, torch.get_num_threads()] += 1
        elif func.overloadpacket.__name__ in ("linear", "matmul"):  # as they are in inference mode
            with self:
                return func.decompose(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def again(self, device: str) -> Callable[[], int]:
        """The same products on other numbers, one shape after the other."""
        operands = {shape: numbers(*shape, device) for key in self.counts for shape in key[1]}

        def run() -> int:
            before = torch.get_num_threads()
            for (operation, shapes, threads), times in self.counts.items():
                torch.set_num_threads(threads)
                given = [operands[shape] for shape in shapes]
                for _ in range(times):
                    operation(*given)
            torch.set_num_threads(before)
            return 1

        return run


def numbers(shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype, device: str) -> Tensor:
    """Normal numbers, laid out so; an expanded dimension has a stride of 0."""
    extent = 1 + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
    return torch.randn(extent, dtype=dtype, device=device).as_strided(shape, stride)


def measure(setting: Setting) -> list[Figure]:
    """A row for each head."""
    names = QUICK if setting.quick else HEADS
    command = [sys.executable, "-m", "benchmarks.speed.head_costs", setting.device, str(setting.left), *names]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    figures = [Figure(**json.loads(line)) for line in done.stdout.splitlines()]
    if late := names[len(figures) :]:
        setting.notes.append(f"head costs: no time left for {', '.join(late)}")
    return figures


def one(name: str, device: str) -> Figure:
    """Seconds of a fit with the head's own settings and one seed, beside its products; memory and the time of the test images in the note."""
    cache, hardware = (
        open_cache(min(path.parent for path in shipped("checkpoints").glob("*/manifest.json"))),
        Hardware("gpu" if device == "cuda" else "cpu"),
    )
    train, val, test = (cache.split(split, device=hardware.device) for split in ("train", "val", "test"))
    (run,) = plan(find(name), cache.manifest, {}, [0])
    facts, modules = facts_of(cache), list[nn.Module]()

    def fit() -> int:
        # Of a split that no fit has seen: class means and covariances are remembered for the split that they are of.
        new = replace(train, labels=train.labels.clone())
        (fitted,) = fit_heads([[HeadJob(run.entry, run.hyperparameters, 0)]], facts, new, hardware, held_out=val)
        modules[:] = [fitted.module()]  # adjustments at inference learn here
        return 1

    with Products() as made:
        fit()  # which also imports what a fit needs
    before = forget_peak(device)
    fit()
    most = peak(device)
    setting = Setting(device, quick=True, deadline=time.monotonic() + SECONDS)
    size = f"{cache.path.name}, {len(train):,} x {cache.manifest.backbone.dim}, K {cache.manifest.dataset.num_classes}"
    peers = {name: "products"} if made.counts else {}
    contestants: dict[str, Callable[[], int]] = {name: fit, **({"products": made.again(device)} if peers else {})}
    figure = race(setting, "head costs", size, contestants, peers)[0]
    with torch.inference_mode():
        started = time.perf_counter()
        for chunk in test.view("plain").split(CHUNK):
            modules[0](chunk.float())
        setting.synchronise()
    seconds = time.perf_counter() - started
    note = f"{figure.note}; peak memory {most / 2**20:,.0f} MiB, {max(0, most - before) / 2**20:,.0f} of it by the fit; {len(test):,} test images {seconds:.2f} s"
    return replace(figure, note=note)


def forget_peak(device: str) -> int:
    """Bytes in use, from which the peak counts anew."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM becomes what is resident
    return peak(device)


def main(device: str, seconds: str, *names: str) -> None:
    """A line of JSON for each head; none is begun after the time."""
    end = time.monotonic() + float(seconds)
    with multiprocessing.get_context("fork").Pool(
        1, maxtasksperchild=1
    ) as pool:  # this process has imported everything and computed nothing
        for name in names:
            if time.monotonic() < end:
                sys.stdout.write(json.dumps(as_rows([pool.apply(one, (name, device))])[0]) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
