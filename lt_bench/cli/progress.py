"""Progress of a suite or a tuning, on the terminal, and of the fits of a run."""

from __future__ import annotations

from contextlib import ExitStack
from time import monotonic

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Column

from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.units import Unit, Watcher
from lt_bench.bench.workers import Death
from lt_bench.core.activity import OFTEN, Work, doing, showing
from lt_bench.core.launchers import is_first_process
from lt_bench.engine.heads.pool import HeadFit


class Display(Watcher):
    """Progress of fits: the number done, the time left and each worker's unit, as bars within 80 columns on a terminal, elsewhere as a line; shown by the first process alone.

    Args:
        quiet: show nothing.
        console: console of the display, by default standard error.
    """

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        name = TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"), markup=False)
        columns = (name, BarColumn(20), TaskProgressColumn(), TextColumn("{task.fields[left]}", markup=False))
        hidden = quiet or not is_first_process()
        self._progress = Progress(
            *columns, console=self._console, disable=hidden or not self._console.is_terminal, transient=True, expand=True
        )
        self._block = ExitStack()
        self._forget()

    def _forget(self) -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._names: list[str] = []
        self._kind = "fits"
        self._total = self._recorded = self._done = self._later = 0
        self._running: dict[int, tuple[Unit, float]] = {}
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Display:
        self._work = Work(self._words, self._total, self._recorded, self._recorded, later=self._later)
        if self._progress.disable:
            self._block.enter_context(showing(self._work))
        self._overall = self._progress.add_task(self._work.counted, total=self._total, completed=self._recorded, left="")
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._block.close()
        self._progress.stop()
        self._forget()

    def expects(self, bench: CacheSource, total: int, recorded: int, kind: str = "fits", later: int = 0) -> None:
        """Start of a cache with ``total`` runs, ``recorded`` of them recorded before; ``kind`` says what they are, ``later`` how many follow after them."""
        self._kind, self._later = kind, later
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

    @property
    def _words(self) -> str:
        then = f", then {self._later} again" if self._later else ""
        return f"{self._kind}{then}, {self._names[0] if len(self._names) == 1 else f'{len(self._names)} caches'}"

    def _update(self) -> None:
        running = list(self._running.values())
        work = self._work
        work.done, work.begun = self._recorded + self._done, sum(share * len(unit.runs) for unit, share in running)
        self._progress.update(self._overall, description=work.counted, completed=work.done + work.begun, left=work.time)
        if self._progress.disable:
            work.what = "; ".join([self._words, *(f"{unit.name} {share:.0%}" for unit, share in running)])


class FitProgress(Callback):
    """Epochs, loss and time left of the fits of a command, which share the callback; from the second on they are numbered.

    The strategies of a pool share it, too: the first speaks for all. The loss, for which a GPU is waited for, is read twice a second at most.
    """

    def __init__(self) -> None:
        self._fits, self._read = 0, monotonic()
        self._work: Work | None = None
        self._block = ExitStack()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to show the fit; one that goes on from a checkpoint has epochs behind it."""
        if self._work is None:  # of a pool each strategy says that it starts
            self._fits += 1
            self._work = self._block.enter_context(doing(self._words(trainer), trainer.max_epochs, trainer.current_epoch))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch."""
        assert self._work is not None
        self._work.done = trainer.current_epoch + 1
        if (now := monotonic()) - self._read >= OFTEN:
            self._read = now
            module = trainer.lightning_module
            self._work.what = self._words(trainer, f", loss {module.members[0].mean_loss():.4g}" if isinstance(module, HeadFit) else "")

    def _words(self, trainer: Trainer, loss: str = "") -> str:
        module, heads = trainer.lightning_module, ""
        name = type(module).__name__
        if isinstance(module, HeadFit):
            strategies = [member.strategy for member in module.members]
            number, others = sum(strategy.heads or 1 for strategy in strategies), len(strategies) - 1
            name = strategies[0].name + (f" and {others} more" if others else "")
            heads = f", {number} heads" if number > 1 else ""
        fit = f" of fit {self._fits}" if self._fits > 1 else ""
        return f"epochs{fit}{loss}: {name}{heads}"

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the line."""
        self._work = None
        self._block.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the line."""
        self.on_train_end(trainer, pl_module)
