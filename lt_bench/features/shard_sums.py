"""Rounding errors of a stored shard of float32 features, and its moments, as sums: they lie beside the shards, so that they survive a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from lt_bench.core.files import write_atomic
from lt_bench.features.moments import Moments, Partial, roots


@dataclass(frozen=True)
class SplitSums:
    """Sums over the shards of a split.

    Attributes:
        moments: of the plain view, as it came from the backbone.
        error: (D,) float64, ``moments.typical`` of what storing changed, over all views.
    """

    moments: Moments
    error: Tensor


def write_sums(path: Path, features: Mapping[str, Tensor], stored: Mapping[str, Tensor], intact: Tensor) -> None:
    """Write the sums of a shard.

    Args:
        path: of the file.
        features: (n, D) float32 by view.
        stored: the same in their stored type.
        intact: (n,) bool, the rows that count.
    """
    sums = {"error": torch.zeros(features["plain"].shape[1], dtype=torch.float64), "values": torch.tensor(0)}
    if bool(intact.any()):
        for view, values in features.items():
            if stored[view].dtype != values.dtype:
                sums["error"] += roots((stored[view].float() - values)[intact])
            sums["values"] += intact.sum()
        sums |= vars(Partial.of(features["plain"][intact]))
    write_atomic(path, lambda file: file.write(save(sums)))


def read_sums(paths: Sequence[Path]) -> SplitSums:
    """The sums of all shards of a split, one of which has an intact row."""
    shards = [sums for path in paths if int((sums := load_file(path))["values"])]
    partial = reduce(add, (Partial(*(sums[name] for name in Partial.__annotations__)) for sums in shards))
    error = sum((sums["error"] for sums in shards), torch.zeros((), dtype=torch.float64)) / sum(int(sums["values"]) for sums in shards)
    return SplitSums(partial.moments(), error.square())
