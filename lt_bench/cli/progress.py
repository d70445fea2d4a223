"""Progress of a suite or a tuning, on the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.units import Unit, Watcher
from lt_bench.bench.workers import Death
from lt_bench.core.launchers import is_first_process


class Display(Watcher):
    """Runs done of each cache, and what each worker is at; only on a terminal, and only of the first process."""

    def __init__(self, quiet: bool = False) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        self._progress = Progress(
            *columns, console=console, disable=quiet or not (is_first_process() and console.is_terminal), transient=True
        )
        self._caches: dict[Path, TaskID] = {}
        self._workers: dict[int, TaskID] = {}

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def expects(self, bench: CacheSource, total: int, recorded: int) -> None:
        """Start of a cache with ``total`` runs, ``recorded`` of them recorded before."""
        self._caches[bench.cache.path] = self._progress.add_task(bench.manifest.name, total=total, completed=recorded)

    def begins(self, worker: int, unit: Unit) -> None:
        """Start of a unit on a worker."""
        if worker not in self._workers:
            self._workers[worker] = self._progress.add_task("")
        self._progress.reset(self._workers[worker], description=f"  {unit.name}", total=len(unit.runs), visible=True)

    def again(self, unit: Unit, death: Death) -> None:
        """Repeat of a unit whose worker died; said also where there is no terminal."""
        self._progress.console.print(f"lt-bench: a worker died ({death}); begun again: {unit.name}", soft_wrap=True, markup=False)

    def ends(self, worker: int, unit: Unit, done: int) -> None:
        """End of a worker's unit."""
        self._progress.update(self._caches[unit.cache], advance=done)
        if worker in self._workers:
            self._progress.update(self._workers[worker], visible=False)
