"""The pools of a suite that are still to be fitted: done in this process, by several workers, or as jobs of SLURM."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from lt_bench.bench.execute import fit_and_record, title
from lt_bench.bench.planning import Planned, by_strategy
from lt_bench.bench.slurm import Jobs, submitted
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.shares import ShareOfFits
from lt_bench.bench.suite.sharing import Work, environments, work_of
from lt_bench.bench.workers import ATTEMPTS, Death, Telling, Workers
from lt_bench.core.errors import UserError
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import open_cache
from lt_bench.results.store import Store
from lt_bench.strategies.revisions import code_of

R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Unit:
    """Unit of work of a worker: one pool on one cache. Stacks do not depend on the workers, so neither do the results; `process` is the id of the process that planned the unit."""

    cache: Path
    accelerator: str
    devices: int
    runs: tuple[Planned, ...]
    work: Work
    process: int = field(default_factory=os.getpid)

    def opened(self) -> CacheSource:
        """Source that opens the unit's cache, for fits on its hardware."""
        return CacheSource(open_cache(self.cache), Hardware(self.accelerator, self.devices))

    def check_code(self) -> None:
        """Refuse code that was edited since the unit was planned; checked only in other processes than the planning one.

        Raises:
            UserError: the message names the strategy.
        """
        if os.getpid() == self.process:
            return
        for run in {run.code.text: run for run in self.runs}.values():
            if code_of(run.entry, run.hyperparameters).text != run.code.text:
                raise UserError(f"the code of {run.entry.public_name} was changed meanwhile; the same command fits it anew")

    @property
    def name(self) -> str:
        """Strategies and seeds of the unit, for messages."""
        names = ", ".join(title(group[0]) for group in by_strategy(self.runs))
        seeds = sorted({run.repetition for run in self.runs})
        return f"{names}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def units_of(bench: CacheSource, missing: Sequence[Planned], accelerator: str | None = None) -> list[Unit]:
    """The pools in which these runs are fitted.

    Args:
        bench: the opened cache.
        missing: the runs.
        accelerator: accelerator of the processes that fit the runs; None for that of the bench. Jobs of SLURM may have other devices.
    """
    accelerator, devices = accelerator or bench.hardware.accelerator, bench.hardware.devices
    return [Unit(bench.cache.path, accelerator, devices, tuple(runs), work_of(bench, runs)) for runs in bench.units(missing)]


class Fitter(Telling):
    """Fits and records units; keeps the features of the previous unit's cache in memory.

    Args:
        results: directory of the records.
        analysis: also store the course of each fit.
    """

    def __init__(self, results: Path, analysis: bool = False) -> None:
        self.store, self._analysis = Store(results), analysis
        self._bench: CacheSource | None = None

    def __call__(self, unit: Unit) -> list[str]:
        """Fit and record a unit; one line for every run that failed."""
        try:
            unit.check_code()
            if self._bench is None or self._bench.cache.path != unit.cache:
                self._bench = unit.opened()
            watch = ShareOfFits(self.tell).of_stack
            return fit_and_record(self._bench, unit.runs, self.store, lambda record: None, analysis=self._analysis, callbacks=watch)
        except UserError as error:
            return [f"{unit.name}: {error}"]


class Watcher:
    """Progress callbacks, within a ``with`` block, that show nothing; ``cli.progress`` has a subclass that does."""

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *exception: object) -> None:
        """End of all progress."""

    def expects(self, bench: CacheSource, total: int, recorded: int, kind: str = "fits", later: int = 0) -> None:
        """Start of a cache with ``total`` runs, ``recorded`` of them recorded before; ``kind`` says what they are, ``later`` how many follow after them."""

    def begins(self, worker: int, unit: Unit) -> None:
        """Start of a unit on a worker."""

    def reaches(self, worker: int, share: float) -> None:
        """Share of a worker's unit that is done."""

    def again(self, unit: Unit, death: Death) -> None:
        """Repeat of a unit whose worker died."""

    def ends(self, worker: int, unit: Unit, done: int) -> None:
        """End of a worker's unit, with ``done`` runs done."""


def fit_units(units: Sequence[Unit], workers: int, fitter: Fitter, watcher: Watcher, slurm: Jobs | None = None) -> list[str]:
    """Do all units; one line for every run that failed, in the order of the units.

    The strategies of a unit whose workers died are fitted one by one, so that only the failing one is lost.

    Args:
        units: the pools.
        workers: processes that share them.
        fitter: fits a unit; it is sent to the workers, pickled.
        watcher: receives the progress.
        slurm: settings of jobs, to submit the units to SLURM instead.
    """
    failures: dict[Unit, list[str]] = {}
    apart: list[Unit] = []
    if slurm is None:
        outcomes = outcomes_of(fitter, units, min(workers, len(units)), watcher)
    else:
        outcomes = ((0, unit, outcome) for unit, outcome in submitted(fitter, units, slurm))
    for worker, unit, outcome in outcomes:
        left = _by_itself(unit, fitter.store) if isinstance(outcome, Death) else []
        if len(left) > 1:
            apart += left
            failures[unit], done = [], len(unit.runs) - sum(len(one.runs) for one in left)
        elif isinstance(outcome, Death):
            failures[unit], done = [f"{unit.name}: its worker died {ATTEMPTS} times ({outcome})"] if left else [], 0
        else:
            failures[unit], done = outcome, len(unit.runs) - len(outcome)
        watcher.ends(worker, unit, done)
    lines = [line for unit in units for line in failures[unit]]
    return [*lines, *fit_units(apart, workers, fitter, watcher, slurm)] if apart else lines


def _by_itself(unit: Unit, store: Store) -> list[Unit]:
    """The unrecorded runs of a unit, as one unit a strategy."""
    there = store.recorded(run.id for run in unit.runs)
    return [replace(unit, runs=tuple(group)) for group in by_strategy([run for run in unit.runs if run.id not in there])]


def outcomes_of(do: Callable[[Unit], R], units: Sequence[Unit], workers: int, watcher: Watcher) -> Iterator[tuple[int, Unit, R | Death]]:
    """Yield number of the worker, unit and result of ``do``, in the order in which units finish; a single worker is this process."""
    if workers > 1:
        caches = list(dict.fromkeys(unit.cache for unit in units))  # cache by cache, as a worker keeps the features of one cache
        # Longest first, so that no long unit runs alone at the end; units with solvers, whose time is not known, come first.
        longest_first = sorted(units, key=lambda unit: (caches.index(unit.cache), not unit.work.solves, -unit.work.flop))
        with Workers(do, environments(workers, Hardware(units[0].accelerator)), watcher.begins, watcher.again, watcher.reaches) as running:
            yield from running.outcomes(longest_first)
    else:
        if isinstance(do, Telling):
            do.tell = partial(watcher.reaches, 0)
        for unit in units:
            watcher.begins(0, unit)
            yield 0, unit, do(unit)
