"""Planning: the heads that a verb's options ask for, each with the identity of the record it will become. Free of torch."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lt_bench.bench.requirements import check_seeds
from lt_bench.core.errors import UserError
from lt_bench.core.identity import record_id
from lt_bench.engine.arithmetic import Matmul
from lt_bench.features.manifest import Manifest
from lt_bench.results.record import MATMUL, Mode, Protocol, TuningKind
from lt_bench.strategies import composition
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.recipe import NEUTRAL
from lt_bench.strategies.revisions import Code, code_of

FIRST_REVISION = "revision 1"
"""Code of the suite's own strategies as they were before a revision was recorded."""


@dataclass(frozen=True)
class Tuning:
    """Origin of the hyper-parameters: ``official``, ``inferred``, ``author-tuned``, ``user`` or ``tuned``; for the last, the split, grid size, seeds and id of the tuning, its objective where that is not macro accuracy, the validation images in words, the standard error of the choice in units of the objective, the share of draws in which it is the best alone, and the points that a budget drew among."""

    kind: TuningKind
    selected_on: Literal["val"] | None = None
    grid_size: int | None = None
    seeds: tuple[int, ...] | None = None
    tuning_id: str | None = None
    objective: str | None = None
    validation: str | None = None
    standard_error: float | None = None
    alone_best: float | None = None
    whole_grid: int | None = None


@dataclass(frozen=True)
class Setting:
    """Protocol, mode and optimisation of a fit.

    Attributes:
        protocol: ``clean`` (a cache), ``images-eval`` or ``images-train``.
        mode: ``head``, or ``end-to-end``.
        words: command-line options of the setting; empty for ``clean`` on a cache.
        recipe: hyper-parameters of the optimisation where it is not the strategy's own.
        identity: further fields, by name, that distinguish runs.
        matmul: how exact float32 products are (``engine.arithmetic``).
        cache: the cache as commands name it (``features.locate.known_as``); empty for the cache's own name.
    """

    protocol: Protocol = "clean"
    mode: Mode = "head"
    words: tuple[str, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    matmul: Matmul = "highest"
    cache: str = ""

    @property
    def beside(self) -> dict[str, Any]:
        """Fields that distinguish runs beside the strategy's hyper-parameters; ``matmul`` is among them unless it is ``highest``."""
        return self.identity if self.matmul == "highest" else {**self.identity, MATMUL: self.matmul}


CLEAN = Setting()


@dataclass(frozen=True)
class Planned:
    """One run: a strategy with all its hyper-parameters on a cache, or on images, at a repetition; ``code`` is the program that fits it."""

    entry: Entry
    hyperparameters: dict[str, Any]
    repetition: int
    tuning: Tuning
    manifest: Manifest
    code: Code
    setting: Setting = CLEAN

    @property
    def identity(self) -> dict[str, Any]:
        """Fields of the record's id: strategy and its code, hyper-parameters and how they were chosen, cache key, protocol, mode, seed; a strategy without randomness has seed 0."""
        return {
            "strategy": self.entry.public_name,
            "hyperparameters": json.loads(json.dumps({**self.hyperparameters, **self.setting.beside})),
            "cache_key": self.manifest.key,
            "protocol": self.setting.protocol,
            "mode": self.setting.mode,
            "tuning": self.tuning.kind,
            "seed": self.repetition,
            "code": self.code.text,
        }

    @property
    def id(self) -> str:
        """The record's id."""
        return record_id(self.identity)

    @property
    def command(self) -> str:
        """The one line that reproduces the record."""
        dataset = self.manifest.dataset
        defaults = self.entry.resolve(dataset.name, dataset.imbalance_factor, self.setting.recipe)
        changed = {key: value for key, value in self.hyperparameters.items() if value != defaults.get(key)}
        changed |= {key: value for key, value in NEUTRAL.items() if key in defaults and key not in self.hyperparameters}
        options = ["--tuned"] if self.tuning.kind == "tuned" else strategy_options(changed)
        where = self.setting.words or ("--cache", self.setting.cache or self.manifest.name)
        exactness = [] if self.setting.matmul == "highest" else ["--matmul", self.setting.matmul]
        return shlex.join(
            [
                "lt-bench", "run", "--strategy", self.entry.public_name, "--dataset", dataset.name, *where,
                "--seeds", str(self.repetition), *exactness, *options,
            ]
        )  # fmt: skip


def strategy_options(hyperparameters: dict[str, Any]) -> list[str]:
    """Hyper-parameters as words of a command line."""
    words = []
    for key, value in hyperparameters.items():
        words += [f"--strategy.{key}", json.dumps(list(value)) if isinstance(value, tuple | list) else str(value)]
    return words


def plan(
    entry: Entry,
    manifest: Manifest,
    given: dict[str, Any],
    seeds: Sequence[int],
    tuning: Tuning | None = None,
    setting: Setting = CLEAN,
) -> list[Planned]:
    """One run per seed; a strategy that has no randomness runs once, as repetition 0.

    Raises:
        UserError: there are no seeds, or a repeated or negative one; or the strategy's file was edited after its import.
    """
    check_seeds(seeds)
    dataset = manifest.dataset
    official = entry.resolve(dataset.name, dataset.imbalance_factor, setting.recipe)
    resolved = entry.resolve(dataset.name, dataset.imbalance_factor, {**setting.recipe, **given})
    if entry.is_composition:
        resolved = composition.with_shares(resolved, dataset.class_names, dataset.train_counts)
    if tuning is None:
        kind = "inferred" if setting.mode == "end-to-end" else default_kind(entry, manifest)  # official settings are of re-training
        tuning = Tuning(kind if resolved == official else "user")
    entry = entry.with_facts_of(resolved)
    repetitions, code = seeds if entry.takes_batches else [0], code_of(entry, resolved)
    return [Planned(entry, resolved, repetition, tuning, manifest, code, setting) for repetition in repetitions]


def default_kind(entry: Entry, manifest: Manifest) -> TuningKind:
    """Origin of a strategy's default hyper-parameters on a data set; a composition's are always the user's."""
    if entry.is_composition:
        return "user"
    if entry.selected_on_val:
        return "author-tuned"
    return "official" if entry.is_official(manifest.dataset.name, manifest.dataset.imbalance_factor) else "inferred"


def require_grid(entry: Entry) -> None:
    """Refuse a strategy without values to choose among.

    Raises:
        UserError: it declares no grid.
    """
    if entry.is_composition:
        raise UserError(
            "compose has nothing to tune: slots have no grid; a suite may have axes over them ({name: compose, axes: {target: [...]}}, docs/slots.md)"
        )
    if entry.members:
        raise UserError(f"{entry.name} has nothing of its own to tune; tune its members, and run it with --tuned")
    if not entry.grid:
        raise UserError(f"strategy {entry.name} has nothing to tune: it declares no grid")


def by_strategy(planned: Sequence[Planned]) -> list[list[Planned]]:
    """The runs grouped by strategy and how its hyper-parameters were chosen."""
    groups: dict[tuple[str, str], list[Planned]] = {}
    for run in planned:
        groups.setdefault((run.entry.class_path, run.tuning.kind), []).append(run)
    return list(groups.values())
