"""Two gloo processes that evaluate shares of the same set; run by test_processes.py."""

# ruff: noqa: E402

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import multiprocessing

from lt_bench.core.lean_import import import_torchmetrics_alone

import_torchmetrics_alone()  # half of the start

from lt_bench.metrics.evaluation import Evaluation


def main(rank: int, directory: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{directory / 'rendezvous'}", rank=rank, world_size=2)
    data = {name: torch.from_numpy(value) for name, value in np.load(directory / "data.npz").items()}
    n = len(data["labels"])
    shares = {"odd": (slice(0, n // 2), slice(n // 2, n)), "empty": (slice(0, n), None)}
    for name, share in shares.items():
        evaluation = Evaluation(data["train_counts"], data["weight"])
        if share[rank] is not None:
            for batch in torch.arange(n)[share[rank]].split(7):
                evaluation.update(data["logits"][batch], data["labels"][batch], data["features"][batch])
        scalars, vectors = evaluation.scalars(), evaluation.vectors()
        np.savez(directory / f"{name}-{rank}.npz", **vectors, **scalars)
    dist.destroy_process_group()


if __name__ == "__main__":
    # Forked, so that the imports, which are most of the time, are paid once.
    multiprocessing.start_processes(main, (Path(sys.argv[1]),), nprocs=2, start_method="fork")
