"""Fitting heads: a stack of them as one LightningModule under Lightning's Trainer, on one process or several."""

from __future__ import annotations

import logging
import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lt_bench.core.errors import UserError
from lt_bench.core.launchers import Layout, layout
from lt_bench.core.seeds import derive_seed
from lt_bench.core.threads import threads_for
from lt_bench.engine.arithmetic import Matmul, checked, computing
from lt_bench.engine.cuda_graphs import GraphedStep
from lt_bench.engine.heads.replay import Capture
from lt_bench.engine.heads.stacks import HeadJob, batch_orders, stacked_hyperparameters
from lt_bench.engine.heads.trajectory import Course
from lt_bench.features.cache import FeatureCache
from lt_bench.features.samplers import EpochOrder
from lt_bench.features.source import FeatureSource
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.noise import Draws

for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # its advice on loaders and accelerators is not for our users


@dataclass(frozen=True)
class Hardware:
    """Where and how fits run.

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
        """Whether ``auto`` or ``gpu`` finds a CUDA device."""
        return self.accelerator != "cpu" and torch.cuda.is_available()

    @property
    def device(self) -> torch.device:
        """Of this process, also before its process group exists: Lightning numbers the processes it starts in LOCAL_RANK."""
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if self.on_gpu else torch.device("cpu")


@dataclass
class Fitted:
    """A fitted stack.

    Attributes:
        strategy: the module; head h of it is that of job h.
        seconds: wall-clock seconds of the fit, all heads together; its part, where strategies were fitted side by side.
        history: per head, one ``{"epoch", "loss", "lr"}`` an epoch, or the one row that an iterative solver leaves; else empty.
        steps: optimizer steps.
        threads: CPU threads of the products.
        best_epochs: per head, the figures of ``engine.best_epoch``; empty where they were not asked for.
        callbacks: what the caller sent along.
    """

    strategy: Strategy
    seconds: float
    history: list[list[dict[str, float]]]
    steps: int = 0
    threads: int = 1
    best_epochs: list[dict[str, float]] = field(default_factory=list)
    callbacks: Sequence[Callback] = ()

    @property
    def course(self) -> Course | None:
        """Of norms and angles, where that was sent along."""
        return next((one for one in self.callbacks if isinstance(one, Course)), None)

    def check_finite(self, head: int) -> None:
        """Refuse a head whose fit diverged.

        Raises:
            UserError: a parameter of it is NaN or infinite.
        """
        stacked = [p for p in self.strategy.parameters() if p.dim() > 0 and p.shape[0] == self.strategy.heads]
        if not all(bool(torch.isfinite(parameter[head]).all()) for parameter in stacked):
            rate = self.strategy.recipe.per_head("lr", self.strategy.heads)[head]
            raise UserError(f"{self.strategy.name}: the fit diverged, its parameters are not finite; use a smaller lr than {rate}")


class Passthrough(Dataset[Tensor]):
    """Hands on what the sampler yields, whole chunks of an epoch's order, so that no sample is collated in Python."""

    def __getitem__(self, chunk: Tensor) -> Tensor:
        return chunk


@dataclass
class History(Callback):
    """Mean training loss per epoch and head, with one synchronisation an epoch; and the seconds of a fit that is resumed."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0
    started: float = field(default_factory=time.perf_counter)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Average the epoch's losses over steps and, where there are several, add up the processes' shares."""
        assert isinstance(pl_module, Strategy)
        loss = pl_module.loss_sum / pl_module.steps_of_epoch
        if trainer.world_size > 1:
            torch.distributed.all_reduce(loss)
        self.steps += pl_module.steps_of_epoch
        self.rows.append({"epoch": trainer.current_epoch, "loss": loss.tolist(), "factor": pl_module.recipe.factor(trainer.current_epoch)})

    def state_dict(self) -> dict[str, Any]:
        """What a resumed fit goes on with."""
        return {"rows": self.rows, "steps": self.steps, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with it."""
        self.rows, self.steps = state_dict["rows"], state_dict["steps"]
        self.started = time.perf_counter() - state_dict["seconds"]

    @property
    def seconds(self) -> float:
        """Seconds of the fit so far, those before it was resumed included."""
        return time.perf_counter() - self.started


def facts_of(cache: FeatureCache, repetitions: Sequence[int]) -> Facts:
    """What a strategy may know of a cache, with one initialisation seed per repetition listed."""
    manifest = cache.manifest
    seeds = tuple(derive_seed("init", repetition) for repetition in repetitions)
    return Facts(manifest.backbone.dim, manifest.dataset.train_counts, cache.head(), seeds)


def fit_stack(
    stack: Sequence[HeadJob],
    facts: Facts,
    train: FeatureSource,
    hardware: Hardware = Hardware(),
    *,
    callbacks: Sequence[Callback] = (),
    dtype: torch.dtype = torch.float32,
    resume: Path | None = None,
) -> Fitted:
    """Fit the heads of one stack.

    Args:
        stack: jobs of equal signature (``engine.stacks.stacks``).
        facts: of the cache, with one seed per job.
        train: the training features, on the device where the heads will be.
        hardware: accelerator and number of processes.
        callbacks: further Lightning callbacks.
        dtype: of the parameters and products.
        resume: the checkpoint of a fit that was broken off, where there is one; a ``Checkpoint`` among the callbacks writes it.
    """
    return fit_alone(made(stack, facts, dtype), stack, train, hardware, callbacks, resume)


def made(stack: Sequence[HeadJob], facts: Facts, dtype: torch.dtype) -> Strategy:
    """The module of a stack, before its fit."""
    return stack[0].entry.load()(facts, **stacked_hyperparameters(stack, dtype)).to(dtype)


def fit_alone(
    strategy: Strategy,
    stack: Sequence[HeadJob],
    train: FeatureSource,
    hardware: Hardware,
    callbacks: Sequence[Callback],
    resume: Path | None,
) -> Fitted:
    """Fit one module of a stack in its own way; see ``fit_stack``."""
    history, threads = History(), torch.get_num_threads()
    if strategy.fitting == "solve":
        strategy.to(train.device).solve(train)
    elif strategy.fitting == "sgd":
        orders = batch_orders(stack)
        strategy.to(train.device).attach(train, Draws(orders), capture_on(hardware, train))
        with torch.no_grad():
            strategy.begin(train)
        threads = run_trainer(strategy, [strategy], orders, train, hardware, [history, *callbacks], resume)
    strategy.to(train.device)
    return Fitted(strategy, history.seconds, per_head(history, strategy), history.steps, threads, callbacks=callbacks)


def capture_on(hardware: Hardware, train: FeatureSource) -> Capture | None:
    """How steps are captured where they are: on a single GPU, as CUDA graphs."""
    return GraphedStep if hardware.graphs and hardware.layout.world == 1 and train.device.type == "cuda" else None


def run_trainer(
    module: LightningModule, strategies: Sequence[Strategy], orders: tuple[int, ...], train: FeatureSource, hardware: Hardware, callbacks: list[Callback],
    resume: Path | None = None,
) -> int:  # fmt: skip
    """Fit a module of ``strategies``, which agree in what the batches depend on, under Lightning's Trainer; returns the CPU threads that were used."""
    first, where = strategies[0], hardware.layout
    recipe, heads = first.recipe, sum(strategy.heads for strategy in strategies)
    order = EpochOrder(
        train.labels, first.class_counts.long(), first.sampler, orders, training_views(train, recipe.views),
        epochs=recipe.epochs, batch_size=recipe.batch_size,
    )  # fmt: skip
    # Buffers such as FFDS's group sums differ between processes until an epoch ends, so DDP must not copy the first process's over the others'.
    processes = DDPStrategy(broadcast_buffers=False) if where.world > 1 else "auto"
    trainer = Trainer(
        accelerator="cuda" if hardware.on_gpu else "cpu", devices=where.devices, num_nodes=where.nodes, strategy=processes, max_epochs=recipe.epochs,
        logger=False, enable_checkpointing=any(isinstance(one, Checkpoint) for one in callbacks), enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0, callbacks=callbacks,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")  # indices come from memory
        warnings.filterwarnings("ignore", ".*broadcast_buffers.*")  # its successor has other semantics and is not in every torch we support
        warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")  # Lightning's own
        product = recipe.batch_size * (2 * first.facts.dim * first.facts.num_classes * heads + train.work)
        with threads_for(product) as threads, ending_as_interrupt(), computing(hardware.matmul):
            loader = DataLoader(Passthrough(), sampler=order, batch_size=None)
            trainer.fit(module, loader, ckpt_path=None if resume is None else str(resume), weights_only=True)
    return threads


@contextmanager
def ending_as_interrupt() -> Iterator[None]:
    """Lightning ends an interrupted fit with ``sys.exit`` and leaves SIGINT ignored; callers see a KeyboardInterrupt, and the next one works too."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise  # of a process that another's error ended
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def training_views(train: FeatureSource, views: str) -> tuple[int, ...]:
    """Positions of the stored views that ``Recipe.views`` means."""
    if views == "plain":
        return (train.views.index("plain"),)
    augmented = tuple(v for v, name in enumerate(train.views) if name != "plain")
    return augmented if views == "augmented" and augmented else tuple(range(len(train.views)))


def per_head(history: History, strategy: Strategy) -> list[list[dict[str, float]]]:
    """The course of each head's fit, as a record keeps it."""
    if strategy.fitting == "solve":
        return [[{"epoch": 0, **row}] for row in strategy.solved] or [[] for _ in range(strategy.heads)]
    rates = strategy.recipe.per_head("lr", strategy.heads)
    return [
        [{"epoch": row["epoch"], "loss": row["loss"][head], "lr": rates[head] * row["factor"]} for row in history.rows]
        for head in range(strategy.heads)
    ]
