"""Curves of fits on W&B while they are fitted: one run a head, through Lightning's WandbLogger."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from lt_bench.bench.execute import record_before_fit
from lt_bench.bench.planning import Planned
from lt_bench.bench.sources.base import FollowsRuns, Source
from lt_bench.core.launchers import is_first_process
from lt_bench.engine.heads.fit import per_head
from lt_bench.engine.heads.pool import HeadFit, Member
from lt_bench.leaderboard.wandb.ledger import Destination
from lt_bench.leaderboard.wandb.view import start_record
from lt_bench.metrics.groups import group_means, shot_groups
from lt_bench.strategies.contract import Strategy

if TYPE_CHECKING:
    from wandb import Run


class LiveCurves:
    """W&B runs of the fits within a ``with`` block, by record id; a run whose record is not written before the block ends is marked as failed.

    Args:
        to: destination of the runs; None for nowhere.
        recorded: whether the record of an id exists already; its fit is only a comparison, and gets no W&B run.
    """

    def __init__(self, to: Destination | None, recorded: Callable[[str], bool]) -> None:
        self._to, self._recorded = to, recorded
        self.runs: dict[str, Run] = {}

    def __enter__(self) -> LiveCurves:
        return self

    def __exit__(self, *exception: object) -> None:
        for run in self.runs.values():
            run.finish(exit_code=1)

    def callbacks(self) -> list[Callback]:
        """The callbacks of one more stack."""
        return [StackCurves(self)] if self._to is not None and is_first_process() else []

    def begin(self, bench: Source, run: Planned) -> Run | None:
        """Begin the W&B run of a head; None for a head that is recorded already."""
        if self._to is None or self._recorded(run.id):
            return None
        self.runs[run.id] = start_record(record_before_fit(bench, run), self._to, live=True)
        return self.runs[run.id]


class StackCurves(FollowsRuns):
    """Loss, rate and classifier norms of the heads of a stack, after every epoch.

    A strategy with a training step of its own, or without epochs, has no live curves: its history is written with its record.
    """

    def __init__(self, curves: LiveCurves) -> None:
        self._curves, self._written = curves, 0
        self._loggers: dict[int, WandbLogger] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a W&B run for each head that is to be recorded."""
        if isinstance(trainer.lightning_module, HeadFit):
            for head, run in enumerate(self.runs):
                if (started := self._curves.begin(self.bench, run)) is not None:
                    self._loggers[head] = WandbLogger(experiment=started)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch before, which is complete now."""
        self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last epoch."""
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, strategy: LightningModule) -> None:
        if not self._loggers:
            return
        assert isinstance(trainer.lightning_module, HeadFit)
        assert isinstance(strategy, Strategy)
        member = next(one for one in trainer.lightning_module.members if one.strategy is strategy)
        courses = per_head(member)
        for head, logger in self._loggers.items():
            norms = _norms(member, head)
            for number, row in enumerate(courses[head][self._written :], self._written + 1):
                last = norms if number == len(member.rows) else {}
                values = {f"fit/{name}": value for name, value in row.items() if name != "epoch"}
                logger.log_metrics({**values, **last, "epoch": row["epoch"]}, step=int(row["epoch"]))
        self._written = len(member.rows)


def _norms(member: Member, head: int) -> dict[str, float]:
    """Mean norm of the classifier's rows over all classes, and over those with many, medium and few images; none where there is no matrix (K, D)."""
    weight, counts = getattr(member.strategy, "weight", None), member.strategy.facts.class_counts
    weight = weight if weight is None or member.strategy.heads is None else weight[head]
    if weight is None or weight.dim() != 2 or len(weight) != len(counts):
        return {}
    norms = weight.detach().norm(dim=-1).double().cpu().numpy()
    means = {"all": float(norms.mean()), **group_means(norms, shot_groups(counts))}
    return {f"fit/weight_norm_{name}": value for name, value in means.items() if value == value}
