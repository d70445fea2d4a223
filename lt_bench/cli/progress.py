"""Progress of a suite or a tuning, on the terminal, and of the fits of a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import Event, Thread
from time import monotonic

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.control import Control
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.segment import ControlType
from rich.table import Column

from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.units import Unit, Watcher
from lt_bench.bench.workers import Death
from lt_bench.core.launchers import is_first_process
from lt_bench.engine.heads.pool import HeadFit

EVERY = 10.0
"""Seconds between lines where there is no terminal."""
WIDTH = 79


class Display(Watcher):
    """Fits that are done, the time left and what each worker is at: bars that fit 80 columns on a terminal, elsewhere a line every ten seconds; only of the first process.

    Args:
        quiet: show nothing.
        console: where it is shown.
    """

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        name = TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"), markup=False)
        columns = (name, BarColumn(20), TaskProgressColumn(), TextColumn("{task.fields[left]}", markup=False))
        hidden = quiet or not is_first_process()
        self._progress = Progress(
            *columns, console=self._console, disable=hidden or not self._console.is_terminal, transient=True, expand=True
        )
        self._plain, self._ended = not (hidden or self._console.is_terminal), Event()
        self._forget()

    def _forget(self) -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._names: list[str] = []
        self._kind = "fits"
        self._total = self._recorded = self._done = 0
        self._running: dict[int, tuple[Unit, float]] = {}
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Display:
        self._began = monotonic()
        self._overall = self._progress.add_task(self._summary(), total=self._total, completed=self._recorded, left="")
        self._progress.start()
        if self._plain:
            self._ended.clear()
            self._lines = Thread(target=self._say_lines, daemon=True)
            self._lines.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        if self._plain:
            self._lines.join()
        self._progress.stop()
        self._forget()

    def expects(self, bench: CacheSource, total: int, recorded: int, kind: str = "fits") -> None:
        """Start of a cache with ``total`` runs, ``recorded`` of them recorded before; ``kind`` says what they are."""
        self._kind = kind
        self._names.append(bench.manifest.name)
        self._total, self._recorded = self._total + total, self._recorded + recorded

    def begins(self, worker: int, unit: Unit) -> None:
        """Start of a unit on a worker."""
        self._running[worker] = unit, 0.0
        if worker not in self._tasks:
            self._tasks[worker] = self._progress.add_task("", left="")
        self._progress.reset(self._tasks[worker], description=f"  {unit.name}", total=len(unit.runs), visible=True)
        self._update()

    def reaches(self, worker: int, share: float) -> None:
        """Share of a worker's unit that is done."""
        unit = self._running[worker][0]
        self._running[worker] = unit, share
        self._progress.update(self._tasks[worker], completed=share * len(unit.runs))
        self._update()

    def again(self, unit: Unit, death: Death) -> None:
        """Repeat of a unit whose worker died; said also where there is no terminal."""
        self._progress.console.print(f"lt-bench: a worker died ({death}); begun again: {unit.name}", soft_wrap=True, markup=False)

    def ends(self, worker: int, unit: Unit, done: int) -> None:
        """End of a worker's unit."""
        self._done += done
        if self._running.pop(worker, None) is not None:
            self._progress.update(self._tasks[worker], visible=False)
        self._update()

    def _left(self) -> str:
        """The time left, as far as the fits of this call tell."""
        begun = sum(share * len(unit.runs) for unit, share in tuple(self._running.values()))
        if not self._done + begun:
            return ""
        seconds = (monotonic() - self._began) * ((self._total - self._recorded) / (self._done + begun) - 1)
        return f"{timedelta(seconds=round(max(0.0, seconds)))} left"

    def _summary(self) -> str:
        where = self._names[0] if len(self._names) == 1 else f"{len(self._names)} caches"
        return f"{self._recorded + self._done} of {self._total} {self._kind}, {where}"

    def _update(self) -> None:
        begun = sum(share * len(unit.runs) for unit, share in self._running.values())
        self._progress.update(self._overall, description=self._summary(), completed=self._recorded + self._done + begun, left=self._left())

    def _say_lines(self) -> None:
        while not self._ended.wait(EVERY):
            at = "; ".join(f"{unit.name} {share:.0%}" for unit, share in tuple(self._running.values()))
            line = ", ".join(filter(None, (self._summary(), self._left()))) + (f"; {at}" if at else "")
            self._console.print(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…", soft_wrap=True, markup=False)


class FitProgress(Callback):
    """Epoch, loss and time left of a fit on standard error: one line that changes on a terminal, else a line every ten seconds.

    The clock is read once an epoch, and the loss only for what is shown. The strategies of a pool share the callback; the first speaks for all. So do the fits of a command, one after the
    other: short ones are numbered, and the ten seconds go on from one to the next.

    Args:
        console: where it is shown.
        clock: seconds.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] | None = None) -> None:
        self._console, self._clock = console or Console(stderr=True, highlight=False), clock or monotonic
        self._every = 0.5 if self._console.is_terminal else EVERY
        self._fits, self._shown = 0, self._clock()
        self._fitting: Trainer | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a fit that goes on from a checkpoint has epochs behind it."""
        self._first, self._began = trainer.current_epoch, self._clock()
        self._fits += self._fitting is not trainer  # of a pool each strategy says that it starts
        self._fitting = trainer
        if self._console.is_terminal:
            self._shown = self._began
            self._show(trainer, pl_module, trainer.current_epoch, "")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show how far it is, where that was not shown a moment ago."""
        now = self._clock()
        if now - self._shown < self._every:
            return
        self._shown = now
        done = trainer.current_epoch + 1
        left = timedelta(seconds=round((now - self._began) / (done - self._first) * ((trainer.max_epochs or 0) - done)))
        self._show(trainer, pl_module, done, f", {left} left")

    def _show(self, trainer: Trainer, pl_module: LightningModule, done: int, left: str) -> None:
        module, name, loss = trainer.lightning_module, type(pl_module).__name__, ""
        if isinstance(module, HeadFit):
            strategies = [member.strategy for member in module.members]
            heads, others = sum(strategy.heads or 1 for strategy in strategies), len(strategies) - 1
            name = strategies[0].name + (f" and {others} more" if others else "") + (f", {heads} heads" if heads > 1 else "")
            loss = f", loss {module.members[0].mean_loss():.4g}" if left else ""
        far = f"{f', fit {self._fits}' if self._fits > 1 else ''}: epoch {done} of {trainer.max_epochs}{loss}{left}"
        self._erase()
        end = "" if self._console.is_terminal else "\n"
        width = min(WIDTH, self._console.width - 1) if self._console.is_terminal else WIDTH
        self._console.print(name[: width - len(far)] + far, end=end, soft_wrap=True, markup=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the terminal as it was."""
        self._fitting = None
        self._erase()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self._fitting = None
        self._erase()

    def _erase(self) -> None:
        if self._console.is_terminal:
            self._console.control(Control((ControlType.CARRIAGE_RETURN,), (ControlType.ERASE_IN_LINE, 2)))
