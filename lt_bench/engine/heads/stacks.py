"""Grouping of heads into stacks, and of stacks into pools, and the hyper-parameters of a stack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lt_bench.core.errors import UserError
from lt_bench.core.seeds import derive_seed
from lt_bench.engine.heads.overrides import Overrides
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.entry import Entry

_PER_HEAD_RATES = ("lr", "momentum", "weight_decay")


@dataclass(frozen=True)
class HeadJob:
    """One head to fit: its strategy, all its hyper-parameters, and the repetition that seeds its initialisation and batch order."""

    entry: Entry
    hyperparameters: dict[str, Any]
    repetition: int


def stacks(jobs: Sequence[HeadJob], heads: int) -> list[list[HeadJob]]:
    """Partition jobs into stacks that one fit can serve; a strategy that is not stackable, or takes no batches, has a stack for each head.

    Heads of a stack share strategy, batch size, length and every hyper-parameter that is not a float; they are ordered by repetition, so that heads of a
    repetition stand together and share their batches.

    Args:
        jobs: what to fit.
        heads: of a stack at most.
    """
    groups: dict[tuple, list[HeadJob]] = defaultdict(list)
    for number, job in enumerate(jobs):
        groups[_signature(job) if is_stacked(job.entry) else (number,)].append(job)
    parts: list[list[HeadJob]] = []
    for members in groups.values():
        ordered = sorted(members, key=lambda job: job.repetition)
        parts += [ordered[start : start + heads] for start in range(0, len(ordered), heads)]
    return parts


def is_stacked(entry: Entry) -> bool:
    """Whether heads of the strategy are fitted as stacks, also single ones; False where it is not stackable, or a solver or a plain Trainer fits it."""
    return entry.stackable and entry.fitting == "sgd" and not Overrides(entry.load()).own_training


def pools(parts: Sequence[list[HeadJob]], heads: int) -> list[list[list[HeadJob]]]:
    """Partition stacks into pools that one fit can serve: their strategies draw the same batches, and each has one head for every order.

    Args:
        parts: the stacks.
        heads: of a pool at most, where it has more than one stack.
    """
    groups: dict[tuple, list[list[list[HeadJob]]]] = defaultdict(list)
    for number, stack in enumerate(parts):
        key = _batches(stack) or (number,)
        members = groups[key]
        if not members or (len(members[-1]) + 1) * len(stack) > heads:
            members.append([])
        members[-1].append(stack)
    return [pool for members in groups.values() for pool in members]


def _batches(stack: Sequence[HeadJob]) -> tuple | None:
    """The facts in which the strategies of a pool agree; None for a strategy that is fitted by itself."""
    entry, first, orders = stack[0].entry, stack[0].hyperparameters, batch_orders(stack)
    if not is_stacked(entry) or len(orders) < len(stack):
        return None
    try:
        cls, _ = entry.class_for(first)
    except UserError:
        return None  # its own fit says what is wrong
    overrides = Overrides(cls)
    same = (first.get(name) for name in ("batch_size", "epochs", "iterations", "views"))
    return (cls.sampler, orders, *same, overrides.captured) if overrides.pools else None  # a pool is captured as a whole


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


def strategy_of(stack: Sequence[HeadJob], facts: Facts, dtype: torch.dtype) -> Strategy:
    """The strategy of a stack before its fit, its random parameters seeded by the repetitions."""
    entry = stack[0].entry
    assert len(stack) == 1 or is_stacked(entry), f"{entry.name} is no stack: fit its heads one by one"
    cls, given = entry.class_for(stack_hyperparameters(stack, dtype))
    seeds = tuple(derive_seed("init", job.repetition) for job in stack)
    return cls(replace(facts, init_seed=seeds if is_stacked(entry) else seeds[0]), **given).to(dtype)


def stack_hyperparameters(stack: Sequence[HeadJob], dtype: torch.dtype) -> dict[str, Any]:
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
    """The facts that agree within a stack."""
    floats = {h.name for h in job.entry.hyperparameters if h.type is float} | set(_PER_HEAD_RATES)
    fixed = tuple((name, value) for name, value in sorted(job.hyperparameters.items()) if name not in floats)
    return (job.entry.class_path, job.entry.cls, fixed)


def head_of(strategy: Strategy, number: int = 0, hyperparameters: dict[str, Any] | None = None) -> Strategy:
    """Head ``number`` of a stack as a strategy of one head, with its parameters and buffers; the strategy itself where it is no stack.

    Args:
        strategy: the stack.
        number: which head.
        hyperparameters: of that head, where they are known exactly; those of the stack are rounded to its precision.
    """
    if strategy.heads is None:
        return strategy
    assert isinstance(strategy.facts.init_seed, tuple)
    given = {name: _of_head(name, value, number) for name, value in strategy.given.items()} if hyperparameters is None else hyperparameters
    single = type(strategy)(replace(strategy.facts, init_seed=strategy.facts.init_seed[number]), **given)
    single = single.to(device=strategy.class_counts.device, dtype=strategy.dtype)  # pyright: ignore[reportArgumentType]
    stacked = strategy.state_dict()
    if missing := [name for name in stacked if name not in single.state_dict()]:
        raise UserError(f"{strategy.name}: {missing[0]} came about in the course of a fit; make every parameter and buffer in __init__")
    state = {
        name: stacked[name] if stacked[name].shape == value.shape else stacked[name][number] for name, value in single.state_dict().items()
    }
    single.load_state_dict(state)
    single.source, single.held_out = strategy.source, strategy.held_out
    return single


def _of_head(name: str, value: Any, number: int) -> Any:
    """A hyper-parameter of one head: an entry of a tensor (H, 1) or of a tuple of rates."""
    if name in _PER_HEAD_RATES and isinstance(value, tuple):
        return value[number]
    if isinstance(value, torch.Tensor):
        return float(value[number, 0])
    return value
