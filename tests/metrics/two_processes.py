"""Two gloo processes that evaluate shares of the same set; started by test_processes.py."""

from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

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
