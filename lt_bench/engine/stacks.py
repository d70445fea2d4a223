"""Which heads can be fitted as one stack, and how their hyper-parameters are handed over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lt_bench.strategies.registry import Entry

_PER_HEAD_RATES = ("lr", "momentum", "weight_decay")


@dataclass(frozen=True)
class HeadJob:
    """One head to fit: its strategy, all its hyper-parameters, and the repetition that seeds its initialisation and batch order."""

    entry: Entry
    hyperparameters: dict[str, Any]
    repetition: int


def stacks(jobs: Sequence[HeadJob], head_bytes: int, budget: int) -> list[list[HeadJob]]:
    """Partition jobs into stacks that one fit can serve.

    Heads of a stack share strategy, batch size, epochs and every hyper-parameter that is not a float; they are ordered by repetition, so that heads of a
    repetition stand together and share their batches.

    Args:
        jobs: what to fit.
        head_bytes: memory that one head takes while it is fitted.
        budget: memory for a stack.
    """
    groups: dict[tuple, list[HeadJob]] = defaultdict(list)
    for job in jobs:
        groups[_signature(job)].append(job)
    size = max(1, budget // head_bytes)
    found = []
    for members in groups.values():
        ordered = sorted(members, key=lambda job: job.repetition)
        found += [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return found


def head_bytes(num_classes: int, dim: int, batch_size: int) -> int:
    """Bytes of float32 that a head takes: parameters, gradient, momentum and one temporary, and six tensors of the batch's logits."""
    return 4 * (4 * num_classes * dim + 6 * batch_size * num_classes)


def batch_orders(stack: Sequence[HeadJob]) -> tuple[int, ...]:
    """The repetitions whose orders the stack draws, S of them: the distinct ones where each has equally many heads, else one per head."""
    repetitions = [job.repetition for job in stack]
    distinct = sorted(set(repetitions))
    if len({repetitions.count(repetition) for repetition in distinct}) == 1:
        return tuple(distinct)
    return tuple(repetitions)


def stacked_hyperparameters(stack: Sequence[HeadJob], dtype: torch.dtype) -> dict[str, Any]:
    """Keyword arguments of the strategy for the whole stack: a float that differs between heads becomes a tensor (H, 1), a rate of the recipe a tuple."""
    arguments: dict[str, Any] = {}
    for name, first in stack[0].hyperparameters.items():
        values = [job.hyperparameters[name] for job in stack]
        if all(value == first for value in values):
            arguments[name] = first
        elif name in _PER_HEAD_RATES:
            arguments[name] = tuple(float(value) for value in values)
        else:
            arguments[name] = torch.tensor(values, dtype=dtype).unsqueeze(1)
    return arguments


def _signature(job: HeadJob) -> tuple:
    """What must agree within a stack."""
    floats = {h.name for h in job.entry.hyperparameters if h.type is float} | set(_PER_HEAD_RATES)
    fixed = tuple((name, value) for name, value in sorted(job.hyperparameters.items()) if name not in floats)
    return (job.entry.class_path, fixed)
