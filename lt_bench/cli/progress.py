"""Progress of a suite or a tuning, on the terminal, and of the fits of a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.control import Control
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import ControlType

from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.units import Unit, Watcher
from lt_bench.bench.workers import Death
from lt_bench.core.launchers import is_first_process
from lt_bench.engine.heads.pool import HeadFit


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


class FitProgress(Callback):
    """Epoch, loss and time left of a fit on standard error: one line that changes on a terminal, else a line every ten seconds.

    The clock is read once an epoch, and the loss only for what is shown. The strategies of a pool share the callback; the first speaks for all.

    Args:
        console: where it is shown.
        clock: seconds.
    """

    WIDTH = 79

    def __init__(self, console: Console | None = None, clock: Callable[[], float] | None = None) -> None:
        self._console, self._clock = console or Console(stderr=True, highlight=False), clock or monotonic
        self._every = 0.5 if self._console.is_terminal else 10.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a fit that goes on from a checkpoint has epochs behind it."""
        self._first, self._began = trainer.current_epoch, self._clock()
        self._shown = self._began

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show how far it is, where that was not shown a moment ago."""
        now = self._clock()
        if now - self._shown < self._every:
            return
        self._shown = now
        done, total, module = trainer.current_epoch + 1, trainer.max_epochs or 0, trainer.lightning_module
        name, loss = type(pl_module).__name__, ""
        if isinstance(module, HeadFit):
            strategies = [member.strategy for member in module.members]
            heads, others = sum(strategy.heads or 1 for strategy in strategies), len(strategies) - 1
            name = strategies[0].name + (f" and {others} more" if others else "") + (f", {heads} heads" if heads > 1 else "")
            loss = f", loss {module.members[0].mean_loss():.4g}"
        left = timedelta(seconds=round((now - self._began) / (done - self._first) * (total - done)))
        far = f": epoch {done} of {total}{loss}, {left} left"
        self._erase()
        end = "" if self._console.is_terminal else "\n"
        width = min(self.WIDTH, self._console.width - 1) if self._console.is_terminal else self.WIDTH
        self._console.print(name[: width - len(far)] + far, end=end, soft_wrap=True, markup=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the terminal as it was."""
        self._erase()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self._erase()

    def _erase(self) -> None:
        if self._console.is_terminal:
            self._console.control(Control((ControlType.CARRIAGE_RETURN,), (ControlType.ERASE_IN_LINE, 2)))
