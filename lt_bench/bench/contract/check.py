"""``lt-bench check``: the contract that every strategy keeps, tried on small invented data; says in plain words what fails."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lt_bench.bench.contract import checks
from lt_bench.bench.contract.resume import resumes
from lt_bench.bench.contract.subject import BrokenError
from lt_bench.core.activity import steps
from lt_bench.core.errors import FAILURES_OF_CODE, UserError, described
from lt_bench.engine.heads.overrides import Overrides
from lt_bench.results.record import PASSED
from lt_bench.strategies.composition import compose
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.registry import describe
from lt_bench.strategies.slots.vocabulary import TITLES


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: what it asks for, and what is wrong (None where nothing is)."""

    check: str
    asks: str
    problem: str | None


def saved_and_restored(entry: Entry) -> None:
    """A fit that is saved half way and taken up again by another process ends in the same head."""
    resumes(entry)


CHECKS: dict[str, Callable[[Entry], None]] = {
    function.__name__: function
    for function in (
        checks.grid_and_settings, checks.plain_trainer, checks.per_sample, checks.gradients, checks.fast_as_plain, checks.stack, checks.half_precision,
        checks.sizes, checks.batches, checks.extreme_logits, saved_and_restored, checks.fits, checks.inference_head, checks.empty_class,
    )
}  # fmt: skip
ANY_FITTING = ("grid_and_settings", "inference_head", "empty_class")
"""Checks that also concern strategies without batches."""


def check_strategy(entry: Entry) -> list[Finding]:
    """All checks that concern a strategy of its kind of fitting."""
    return [check_one(entry, name) for name in steps(checks_of(entry), f"checks of {entry.name}")]


def checks_of(entry: Entry) -> tuple[str, ...]:
    """Names of the checks that concern the strategy."""
    if entry.fitting != "sgd":
        return ANY_FITTING
    own_training = Overrides(entry.load()).own_training
    missing = {"stack"} if not entry.stackable else set()
    missing |= {"fast_as_plain", "saved_and_restored"} if own_training else set()
    return tuple(name for name in CHECKS if name not in missing)


def check_one(entry: Entry, name: str) -> Finding:
    """Run one check; what the strategy raises is part of the finding."""
    function = CHECKS[name]
    asks = (function.__doc__ or name).strip().splitlines()[0]
    try:
        with torch.random.fork_rng(devices=[]):
            function(entry)
    except BrokenError as error:
        return Finding(name, asks, str(error))
    except (UserError, *FAILURES_OF_CODE) as error:
        return Finding(name, asks, described(error))
    return Finding(name, asks, None)


def contract_of(entry: Entry, hyperparameters: Mapping[str, Any]) -> str | None:
    """``PASSED``, or the first problem of the checks, once a class and process; None for what is the suite's own.

    Checked are strategies of the user's own, and compositions with an entry of the user's own.
    """
    if entry.is_own:
        return _said_of(entry.load())
    slots = {slot: str(hyperparameters[slot]) for slot in TITLES if hyperparameters.get(slot)} if entry.is_composition else {}
    return _said_of_slots(tuple(slots.items())) if any("." in text.partition("(")[0] for text in slots.values()) else None


@functools.lru_cache(maxsize=64)
def _said_of_slots(slots: tuple[tuple[str, str], ...]) -> str:
    return _said_of(compose(**dict(slots)))


@functools.lru_cache(maxsize=64)
def _said_of(cls: type) -> str:
    entry = describe(cls)
    findings = (check_one(entry, name) for name in steps(checks_of(entry), f"checks of {entry.name}"))
    return next((f"{one.check}: {one.problem}" for one in findings if one.problem is not None), PASSED)
