"""The pools of a suite that are still to be fitted: done in this process, by several workers, or as jobs of SLURM; one display over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lt_bench.bench.execute import Bench, fit_and_record, title
from lt_bench.bench.options import BenchOptions, TuneOptions
from lt_bench.bench.planning import Planned, by_strategy
from lt_bench.bench.suite.sharing import Work, environments, work_of
from lt_bench.bench.workers import ATTEMPTS, Death, Workers
from lt_bench.core.errors import UserError
from lt_bench.core.launchers import is_first_process
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import open_cache
from lt_bench.results.store import Store

R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Unit:
    """What a worker does at a time: one pool on one cache. What is stacked does not depend on the workers, so neither do the results."""

    cache: Path
    accelerator: str
    devices: int
    runs: tuple[Planned, ...]
    results: Path
    analysis: bool
    work: Work

    def opened(self) -> Bench:
        """Its cache, for fits on its hardware."""
        return Bench(open_cache(self.cache), Hardware(self.accelerator, self.devices))

    @property
    def name(self) -> str:
        """In words."""
        names = ", ".join(title(group[0]) for group in by_strategy(self.runs))
        seeds = sorted({run.repetition for run in self.runs})
        return f"{names}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def units_of(bench: Bench, missing: Sequence[Planned], options: BenchOptions | TuneOptions, analysis: bool = False) -> list[Unit]:
    """The pools in which these runs are fitted."""
    return [
        Unit(bench.cache.path, options.accelerator, options.devices, tuple(runs), options.results, analysis, work_of(bench, runs))
        for runs in bench.units(missing)
    ]


class Fitter:
    """Fits and records units; it keeps the features of one cache, that of the unit before."""

    def __init__(self) -> None:
        self._bench: Bench | None = None

    def __call__(self, unit: Unit) -> list[str]:
        """One line for every run that failed."""
        try:
            if self._bench is None or self._bench.cache.path != unit.cache:
                self._bench = unit.opened()
            return fit_and_record(self._bench, unit.runs, Store(unit.results), lambda record: None, analysis=unit.analysis)
        except UserError as error:
            return [f"{unit.name}: {error}"]


class Display:
    """Runs done of each cache, and what each worker is at; only on a terminal, and only of the first process."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        self.progress = Progress(*columns, console=console, disable=not (is_first_process() and console.is_terminal), transient=True)
        self._caches: dict[Path, TaskID] = {}
        self._workers: dict[int, TaskID] = {}

    def expects(self, bench: Bench, total: int, recorded: int) -> None:
        """So many runs are asked for on a cache, of which some were recorded before."""
        self._caches[bench.cache.path] = self.progress.add_task(bench.manifest.name, total=total, completed=recorded)

    def begins(self, worker: int, unit: Unit) -> None:
        """A worker is given a unit."""
        if worker not in self._workers:
            self._workers[worker] = self.progress.add_task("")
        self.progress.reset(self._workers[worker], description=f"  {unit.name}", total=len(unit.runs), visible=True)

    def again(self, unit: Unit, death: Death) -> None:
        """A worker died over a unit, which is done again; said also where there is no terminal."""
        self.progress.console.print(f"lt-bench: a worker died ({death}); begun again: {unit.name}", soft_wrap=True, markup=False)

    def ends(self, worker: int, unit: Unit, done: int) -> None:
        """A worker has nothing to do."""
        self.progress.update(self._caches[unit.cache], advance=done)
        if worker in self._workers:
            self.progress.update(self._workers[worker], visible=False)


def fit_units(units: Sequence[Unit], workers: int, options: BenchOptions, display: Display) -> list[str]:
    """Do all units; one line for every run that failed, in the order of the units.

    Where a unit was the death of its workers, its strategies are done one by one, so that only that at fault is lost.
    """
    failures: dict[Unit, list[str]] = {}
    apart: list[Unit] = []
    for worker, unit, outcome in _outcomes(units, min(workers, len(units)), options, display):
        left = _by_itself(unit) if isinstance(outcome, Death) else []
        if len(left) > 1:
            apart += left
            failures[unit], done = [], len(unit.runs) - sum(len(one.runs) for one in left)
        elif isinstance(outcome, Death):
            failures[unit], done = [f"{unit.name}: its worker died {ATTEMPTS} times ({outcome})"] if left else [], 0
        else:
            failures[unit], done = outcome, len(unit.runs) - len(outcome)
        display.ends(worker, unit, done)
    lines = [line for unit in units for line in failures[unit]]
    return [*lines, *fit_units(apart, workers, options, display)] if apart else lines


def _by_itself(unit: Unit) -> list[Unit]:
    """What of a unit is not recorded yet, strategy by strategy."""
    store = Store(unit.results)
    return [replace(unit, runs=tuple(group)) for group in by_strategy([run for run in unit.runs if not store.has(run.id)])]


def _outcomes(
    units: Sequence[Unit], workers: int, options: BenchOptions, display: Display
) -> Iterator[tuple[int, Unit, list[str] | Death]]:
    if options.slurm is not None:
        from lt_bench.bench.slurm import submitted  # its library is an extra

        return ((0, unit, outcome) for unit, outcome in submitted(Fitter(), units, options))
    return outcomes(Fitter(), units, workers, Hardware(options.accelerator), display)


def outcomes(
    do: Callable[[Unit], R], units: Sequence[Unit], workers: int, hardware: Hardware, display: Display
) -> Iterator[tuple[int, Unit, R | Death]]:
    """The number of the worker, the unit and what ``do`` found for it, in the order in which they are done; one worker is this process."""
    if workers > 1:
        caches = list(dict.fromkeys(unit.cache for unit in units))  # one after the other, as a worker keeps the features of one
        # The longest first, so that none is left for the end, when the others have nothing to do; how long a solver takes is not known.
        longest_first = sorted(units, key=lambda unit: (caches.index(unit.cache), not unit.work.solves, -unit.work.flop))
        with Workers(do, environments(workers, hardware), display.begins, display.again) as running:
            yield from running.outcomes(longest_first)
    else:
        for unit in units:
            display.begins(0, unit)
            yield 0, unit, do(unit)
