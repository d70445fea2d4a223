"""Fitting heads: one way in for a single head, a stack and a pool of stacks, on one process or several."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies import DDPStrategy
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lt_bench.core.errors import UserError
from lt_bench.core.launchers import Layout, layout
from lt_bench.core.threads import threads_for
from lt_bench.engine.arithmetic import Matmul, checked, computing
from lt_bench.engine.cuda_graphs import GraphedStep
from lt_bench.engine.heads.empty_classes import over_all_classes, present, rows_of_all, without_empty_classes
from lt_bench.engine.heads.overrides import Overrides
from lt_bench.engine.heads.plain import epoch_order, fit_plain, quiet_lightning
from lt_bench.engine.heads.pool import HeadFit, Member, for_members, may_be_pooled
from lt_bench.engine.heads.replay import Capture
from lt_bench.engine.heads.stacks import HeadJob, batch_orders, head_of, pools, stacks, strategy_of
from lt_bench.engine.heads.trajectory import NormTrajectory
from lt_bench.features.cache import FeatureCache
from lt_bench.features.source import FeatureSource
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.ensemble import Ensemble

for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # its advice on loaders and accelerators is not for our users


@dataclass(frozen=True)
class Hardware:
    """The devices, precision and processes of fits.

    Attributes:
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        devices: processes on each node, one device each.
        graphs: whether a single GPU replays steps from CUDA graphs.
        matmul: how exact float32 products are meanwhile (``engine.arithmetic``).

    Raises:
        UserError: no such accelerator or precision, not so many devices, or another number than torchrun's.
    """

    accelerator: str = "auto"
    devices: int = 1
    graphs: bool = True
    matmul: Matmul = "highest"

    def __post_init__(self) -> None:
        checked(self.matmul)
        if self.accelerator not in ("auto", "cpu", "gpu"):
            raise UserError(f"accelerator {self.accelerator!r} is not one of auto, cpu, gpu")
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise UserError("no CUDA device is available; use --accelerator cpu")
        devices = self.layout.devices
        if self.on_gpu and devices > torch.cuda.device_count():
            raise UserError(f"devices is {devices}, and this machine has {torch.cuda.device_count()}; ask for fewer, or --accelerator cpu")

    @property
    def layout(self) -> Layout:
        """Nodes and processes of a fit: torchrun's where that started this process."""
        return layout(self.devices)

    @property
    def on_gpu(self) -> bool:
        """Whether ``auto`` or ``gpu`` means a CUDA device here."""
        return self.accelerator != "cpu" and torch.cuda.is_available()

    @property
    def device(self) -> torch.device:
        """The device of this process, also before its process group exists: Lightning numbers the processes it starts in LOCAL_RANK."""
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if self.on_gpu else torch.device("cpu")


@dataclass
class Fitted:
    """A fitted stack, or one head of a strategy that is no stack.

    Attributes:
        strategy: as it was fitted; ``head`` gives single heads of it.
        jobs: of its heads.
        seconds: wall-clock seconds of the fit, all heads together; this stack's part where stacks were fitted side by side.
        history: per head, one ``{"epoch", "loss", "lr"}`` an epoch, or the one row that an iterative solver leaves; else empty.
        steps: optimizer steps.
        threads: CPU threads of the products.
        best_epochs: per head, the figures of ``engine.heads.best_epoch``; empty where they were not asked for.
        callbacks: callbacks that the caller passed.
        train_counts: (K,) training rows of all classes; ``strategy`` has only the classes with training rows.
        initial: the trained parameters as they were before the first step, in the order of the strategy's; none where there are no steps.
    """

    strategy: Strategy
    jobs: Sequence[HeadJob]
    seconds: float
    history: list[list[dict[str, float]]]
    steps: int = 0
    threads: int = 1
    best_epochs: list[dict[str, float]] = field(default_factory=list)
    callbacks: Sequence[Callback] = ()
    train_counts: tuple[int, ...] = ()
    initial: Sequence[Tensor] = ()

    def head(self, number: int = 0) -> Strategy:
        """A head as a strategy of one head, with the hyper-parameters of its job, over the classes that have training rows."""
        job = self.jobs[number]
        return head_of(self.strategy, number, job.entry.class_for(job.hyperparameters)[1])

    def module(self, number: int = 0) -> nn.Module:
        """A head at inference, from features (B, D) to logits (B, K); a class without training rows has minus infinity."""
        return over_all_classes(self.head(number).inference_head(), self.train_counts)

    def of_all_classes(self, values: Tensor) -> Tensor:
        """Values (K', ...) of the classes with training rows as those of all (K, ...), NaN for the others."""
        numbers = present(self.train_counts)
        return values if numbers is None else rows_of_all(values, numbers, len(self.train_counts), torch.nan)

    @property
    def trajectory(self) -> NormTrajectory | None:
        """The recorded norms and angles by epoch; None where the callback was not passed."""
        return next((one for one in self.callbacks if isinstance(one, NormTrajectory)), None)

    def trajectory_arrays(self, number: int) -> dict[str, NDArray[np.float64]]:
        """The measures of the trajectory of a head, over all classes; NaN for a class without training rows."""
        assert self.trajectory is not None
        arrays = self.trajectory.arrays(number)
        return {
            name: values if values.ndim == 1 else self.of_all_classes(torch.from_numpy(values.T)).numpy().T
            for name, values in arrays.items()
        }

    def is_unchanged(self, number: int) -> bool:
        """Whether every trained parameter of a head is what it was before the first step; False where nothing is trained."""
        heads, now = self.strategy.heads, (p for p in self.strategy.parameters() if p.requires_grad) if self.initial else ()
        pairs = [(a, b) if heads is None else (a[number], b[number]) for a, b in zip(self.initial, now, strict=True)]
        return bool(pairs) and all(torch.equal(before, after) for before, after in pairs)

    def is_finite(self, number: int) -> bool:
        """Whether every parameter of a head is finite."""
        parameters = [p if self.strategy.heads is None else p[number] for p in self.strategy.parameters()]
        return all(bool(torch.isfinite(parameter).all()) for parameter in parameters)

    def check_finite(self, number: int) -> None:
        """Refuse a head whose fit diverged.

        Raises:
            UserError: a parameter of it is NaN or infinite.
        """
        if not self.is_finite(number):
            rate = self.strategy.recipe.per_head("lr", self.strategy.heads or 1)[number]
            raise UserError(
                f"{self.strategy.name}: the fit diverged, its parameters are not finite; use a smaller lr than {rate}, unless the loss itself is not finite (`lt-bench check`)"
            )


class Passthrough(Dataset[Tensor]):
    """Hands on what the sampler yields, whole chunks of an epoch's order, so that no sample is collated in Python."""

    def __getitem__(self, chunk: Tensor) -> Tensor:
        return chunk


def facts_of(cache: FeatureCache) -> Facts:
    """The facts of a cache that a strategy may know."""
    manifest = cache.manifest
    return Facts(manifest.backbone.dim, manifest.dataset.train_counts, cache.head())


def fit_heads(
    pool: Sequence[Sequence[HeadJob]],
    facts: Facts,
    train: FeatureSource,
    hardware: Hardware = Hardware(),
    *,
    callbacks: Sequence[Sequence[Callback]] = (),
    dtype: torch.dtype = torch.float32,
    resume: Path | None = None,
    held_out: FeatureSource | None = None,
) -> list[Fitted]:
    """Fit the stacks of a pool, side by side where they can share their batches.

    Seconds of a fit are those of its own losses and updates, and an equal part of the time for all. A GPU runs asynchronously: there the equal part is nearly all.

    Args:
        pool: stacks of jobs, as ``engine.heads.stacks.stacks`` and ``pools`` make them; a single head is ``[[job]]``.
        facts: of the training data.
        train: the training features, on the device where the heads will be.
        hardware: accelerator and number of processes.
        callbacks: for each stack, further Lightning callbacks; they are called with its strategy as the module.
        dtype: of the parameters and products.
        resume: checkpoint of an interrupted fit of one stack; a ``Checkpoint`` among the callbacks writes it.
        held_out: validation features that the backbone has not seen, for adjustments at inference that learn from them.
    """
    callbacks = callbacks or [()] * len(pool)
    train_counts, held_out = facts.class_counts, None if held_out is None else without_empty_classes(facts, held_out)[1]
    facts, train = without_empty_classes(facts, train)
    strategies = [strategy_of(stack, facts, dtype).to(train.device) for stack in pool]
    for strategy in strategies:
        strategy.held_out = held_out
    poolable = [number for number, strategy in enumerate(strategies) if may_be_pooled(strategy)]
    groups = [poolable] if len(poolable) > 1 else []
    groups += [[number] for number in range(len(pool)) if not groups or number not in poolable]
    fits: dict[int, Fitted] = {}
    for group in groups:
        members = [(strategies[number], pool[number], callbacks[number]) for number in group]
        fits |= dict(zip(group, _fit_group(members, train, hardware, resume), strict=True))
    return [replace(fits[number], train_counts=train_counts) for number in range(len(pool))]


Stack = tuple[Strategy, Sequence[HeadJob], Sequence[Callback]]


def _fit_group(group: Sequence[Stack], train: FeatureSource, hardware: Hardware, resume: Path | None) -> list[Fitted]:
    """Fit stacks on shared batches, or one stack that is solved, an ensemble, or trains itself."""
    strategy, jobs, callbacks = group[0]
    started = time.perf_counter()
    if strategy.fitting != "sgd":
        strategy.begin_fit(train)
        if isinstance(strategy, Ensemble):
            strategy.join(_fit_members(strategy, jobs[0].repetition, train, hardware))
        elif strategy.fitting == "solve":
            strategy.solve(train)
        history = [] if strategy.solved is None else [{"epoch": 0, **strategy.solved}]
        return [Fitted(strategy, jobs, time.perf_counter() - started, [history], threads=torch.get_num_threads(), callbacks=callbacks)]
    if Overrides(type(strategy)).own_training:
        with quiet_lightning(), ending_as_interrupt(), computing(hardware.matmul):
            rows, steps, initial = fit_plain(strategy, train, jobs[0].repetition, callbacks)
        seconds = time.perf_counter() - started
        return [Fitted(strategy, jobs, seconds, [rows], steps, torch.get_num_threads(), callbacks=callbacks, initial=initial)]
    orders = batch_orders(jobs)
    module = HeadFit([one for one, _, _ in group], train, orders, capture_on(hardware, train))
    sent = for_members(module.members, [own for _, _, own in group])
    threads = run_trainer(module, orders, train, hardware, sent, resume)
    shared = (module.elapsed - sum(member.seconds for member in module.members)) / len(group)
    return [
        Fitted(
            member.strategy.to(train.device), of, member.seconds + shared, per_head(member), member.steps, threads, callbacks=own,
            initial=member.initial,
        )
        for member, (_, of, own) in zip(module.members, group, strict=True)
    ]  # fmt: skip


def _fit_members(strategy: Ensemble, repetition: int, train: FeatureSource, hardware: Hardware) -> list[Strategy]:
    """Fit the members of an ensemble, each as it would be alone; strategies of one head, in their order.

    Raises:
        UserError: a fit diverged, or whatever a member refuses.
    """
    assert isinstance(strategy.dtype, torch.dtype)
    jobs = [HeadJob(entry, hyperparameters, repetition) for entry, hyperparameters in strategy.members]
    heads: dict[int, Strategy] = {}
    for pool in pools(stacks(jobs, 1), len(jobs)):
        for fitted in fit_heads(pool, strategy.facts, train, hardware, dtype=strategy.dtype, held_out=strategy.held_out):
            fitted.check_finite(0)
            heads[id(fitted.jobs[0])] = fitted.head()
    return [heads[id(job)] for job in jobs]


def capture_on(hardware: Hardware, train: FeatureSource) -> Capture | None:
    """The capture of steps as CUDA graphs, on a single GPU; None elsewhere."""
    return GraphedStep if hardware.graphs and hardware.layout.world == 1 and train.device.type == "cuda" else None


def run_trainer(
    module: HeadFit,
    orders: tuple[int, ...],
    train: FeatureSource,
    hardware: Hardware,
    callbacks: list[Callback],
    resume: Path | None = None,
) -> int:
    """Fit under Lightning's Trainer; returns the CPU threads that were used."""
    strategies, where = [member.strategy for member in module.members], hardware.layout
    first, recipe, heads = strategies[0], strategies[0].recipe, sum(strategy.heads or 1 for strategy in strategies)
    order = epoch_order(first, train, orders)
    # Buffers such as FFDS's group sums differ between processes until an epoch ends, so DDP must not copy the first process's over the others'.
    processes = DDPStrategy(broadcast_buffers=False) if where.world > 1 else "auto"
    trainer = Trainer(
        accelerator="cuda" if hardware.on_gpu else "cpu", devices=where.devices, num_nodes=where.nodes, strategy=processes, max_epochs=recipe.epochs,
        logger=False, enable_checkpointing=any(isinstance(one, Checkpoint) for one in callbacks), enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0, callbacks=callbacks,
    )  # fmt: skip
    product = recipe.batch_size * (2 * first.facts.dim * first.facts.num_classes * heads + train.work)
    with quiet_lightning(), threads_for(product) as threads, ending_as_interrupt(), computing(hardware.matmul):
        loader = DataLoader(Passthrough(), sampler=order, batch_size=None)
        trainer.fit(module, loader, ckpt_path=None if resume is None else str(resume), weights_only=True)
    return threads


@contextmanager
def ending_as_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt for an interrupted fit and restore the handler of SIGINT: Lightning calls ``sys.exit`` and leaves SIGINT ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise  # another process failed and ended this one
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def per_head(member: Member) -> list[list[dict[str, float]]]:
    """The history of each head's fit, as a record has it."""
    heads = member.strategy.heads or 1
    rates = member.strategy.recipe.per_head("lr", heads)
    return [
        [{"epoch": row["epoch"], "loss": row["loss"][head], "lr": rates[head] * row["factor"]} for row in member.rows]
        for head in range(heads)
    ]
