"""Several strategies fitted side by side on the same batches: one Trainer, one gather, and two products a step for the heads of all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn

from lt_bench.engine.heads.fit import Fitted, Hardware, History, capture_on, fit_alone, made, per_head, run_trainer
from lt_bench.engine.heads.gradients import Batch, trains_head
from lt_bench.engine.heads.overrides import Slots
from lt_bench.engine.heads.replay import Capture, Replay
from lt_bench.engine.heads.sgd import HeadSGD
from lt_bench.engine.heads.stacks import HeadJob, batch_orders
from lt_bench.features.source import FeatureSource
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.noise import Draws


def fit_together(
    stacks: Sequence[Sequence[HeadJob]],
    facts: Facts,
    train: FeatureSource,
    hardware: Hardware,
    *,
    callbacks: Sequence[Sequence[Callback]] = (),
    dtype: torch.dtype = torch.float32,
) -> list[Fitted]:
    """Fit the stacks of one pool (``engine.stacks.pools``) side by side; arguments as of ``fit_stack``, ``facts`` being those of every stack.

    The seconds of a fit are those of its own losses and updates, and an equal part of what all share; on a GPU, which is not waited for, of little else.
    """
    callbacks, orders = callbacks or [()] * len(stacks), batch_orders(stacks[0])
    strategies = [made(stack, facts, dtype).to(train.device) for stack in stacks]
    alone = {n: fit_alone(s, stacks[n], train, hardware, callbacks[n], None) for n, s in enumerate(strategies) if not may_be_pooled(s)}
    pooled = [number for number in range(len(stacks)) if number not in alone]
    if not pooled:
        return list(alone.values())
    started, histories = time.perf_counter(), {number: History() for number in pooled}
    members = [strategies[number] for number in pooled]
    together = Together(members, [[histories[number], *callbacks[number]] for number in pooled])
    together.attach(train, orders, capture_on(hardware, train))
    with torch.no_grad():
        for member in members:
            member.begin(train)
    threads = run_trainer(together, members, orders, train, hardware, [])
    shared = (time.perf_counter() - started - sum(together.seconds)) / len(members)
    fits = {
        number: Fitted(
            member.to(train.device), seconds + shared, per_head(history, member), history.steps, threads, callbacks=callbacks[number]
        )
        for (number, history), member, seconds in zip(histories.items(), members, together.seconds, strict=True)
    }
    return [(alone | fits)[number] for number in range(len(stacks))]


def may_be_pooled(strategy: Strategy) -> bool:
    """Whether its heads can be part of a ``Pool``: a product of the features as they are with weight and bias, which are both fitted."""
    return Slots(type(strategy), Strategy).pools and trains_head(strategy)


class Pool:
    """Heads of several strategies in one place, order by order, so that those which share their batches are one product.

    Args:
        members: M strategies of S heads each, one for each batch order; their weights and biases become views of this one's.
    """

    def __init__(self, members: Sequence[Strategy]) -> None:
        with torch.no_grad():
            self.weight = torch.stack([member.weight for member in members], 1)  # (S, M, K, D)
            self.bias = torch.stack([member.bias for member in members], 1)  # (S, M, K)
        self.of_weight, self.of_bias = torch.empty_like(self.weight), torch.empty_like(self.bias)
        for number, member in enumerate(members):
            member.weight.data, member.bias.data = self.weight[:, number], self.bias[:, number]

    def logits(self, features: Tensor) -> Tensor:
        """Of all members (S, M, K, B), of features (S, B, D)."""
        S, M, K, D = self.weight.shape
        return torch.bmm(self.weight.view(S, M * K, D), features.transpose(1, 2)).view(S, M, K, -1).add_(self.bias.unsqueeze(-1))

    def differentiate(self, logits: Tensor, residuals: Sequence[Tensor], features: Tensor) -> None:
        """Write the gradients of weights and biases, given those of each member's logits (S, B, K), with which the logits are overwritten."""
        S, M, K, D = self.weight.shape
        for own, residual in zip(logits.unbind(1), residuals, strict=True):
            columns = residual.transpose(1, 2)
            if (columns.data_ptr(), columns.stride()) != (own.data_ptr(), own.stride()):  # some lie in the place of their logits already
                own.copy_(columns)
        torch.sum(logits, -1, out=self.of_bias)
        torch.bmm(logits.view(S, M * K, -1), features, out=self.of_weight.view(S, M * K, D))


class Together(LightningModule):
    """Strategies with equal samplers, batch sizes, epochs and views, each with one head for every batch order; every one is fitted as it would be alone.

    A member keeps its own loss, rates, schedule and what it does in or after a step; what they share is the Trainer, the batches and the products.

    Args:
        members: for which ``may_be_pooled`` holds.
        callbacks: of each member; they are called as the Trainer calls them, with the member as the module.
    """

    def __init__(self, members: Sequence[Strategy], callbacks: Sequence[Sequence[Callback]]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.members = nn.ModuleList(members)
        self._strategies, self._callbacks = list(members), callbacks
        self.seconds = [0.0] * len(members)
        self._replay: Replay | None = None

    def attach(self, train: FeatureSource, orders: tuple[int, ...], capture: Capture | None) -> None:
        """Give every member the training features, its own noise, and the way to capture a step."""
        for member in self._strategies:
            member.attach(train, Draws(orders), capture)
        self._train, self._row_labels, self._capture = train, self._strategies[0].row_labels, capture
        self._pool = Pool(self._strategies)  # before anything looks at the parameters to be fitted

    def configure_optimizers(self) -> list[HeadSGD]:
        """Those of the members."""
        optimizers = []
        for number, member in enumerate(self._strategies):
            optimizers.append(member.configure_optimizers())
            member.gradients.keep(self._pool.of_weight[:, number], self._pool.of_bias[:, number])
        if any(member.capture is None for member in self._strategies):
            self._capture = None
        return optimizers

    def setup(self, stage: str) -> None:
        """The members see the Trainer."""
        for member in self._strategies:
            member.trainer = self.trainer
        self._tell("setup", stage)

    def on_train_epoch_start(self) -> None:
        """Of every member."""
        self._tell("on_train_epoch_start")
        for member in self._strategies:
            member.on_train_epoch_start()
        if any(member.differs_by_epoch() for member in self._strategies):
            self._replay = None

    def training_step(self, order: Tensor, batch_idx: int) -> None:
        """Many optimizer steps of every member: ``order`` (S, n) as in ``Strategy.training_step``."""
        members, size = self._strategies, self._strategies[0].recipe.batch_size
        for member in members:
            member.draws.start(self.current_epoch, batch_idx)
        step = self._step
        if self._capture is not None:
            step = self._replay = self._replay or Replay(self._capture, self._step, order, size)
        batches = order.split(size, dim=1)
        for index in batches:
            step(index)
        for member in members:
            member.steps_of_epoch += len(batches)

    def on_train_epoch_end(self) -> None:
        """Of every member, then of its checkpoints, as in the Trainer."""
        self._tell("on_train_epoch_end", checkpoints=False)
        for member in self._strategies:
            member.on_train_epoch_end()
        self._tell("on_train_epoch_end", checkpoints=True)

    def on_train_end(self) -> None:
        """Of the callbacks."""
        self._tell("on_train_end")

    def _step(self, index: Tensor) -> None:
        """One step of every member on the global batch ``index`` (S, B), of which this process computes every world-size-th column."""
        rank, world = self.global_rank, self.trainer.world_size
        labels = self._row_labels.take(index)
        features = self._train.gather(index if world == 1 else index[:, rank::world]).to(self._pool.weight.dtype)
        batch = Batch(features, labels if world == 1 else labels[:, rank::world], labels, rank, world)
        logits, residuals, beside = self._pool.logits(features), [], []
        for number, (member, columns) in enumerate(zip(self._strategies, logits.unbind(1), strict=True)):
            own = columns.transpose(1, 2)
            started = time.perf_counter()
            member.draws.share(index.shape[1], rank, world)
            objective, residual, direct = member.gradients.residual(own, batch)
            with torch.no_grad():
                member.loss_sum.add_(objective)
                member.observe(own.detach(), batch.labels)
            residuals.append(residual)
            beside.append(direct)
            self.seconds[number] += time.perf_counter() - started
        with torch.no_grad():
            self._pool.differentiate(logits, residuals, features)
            self._complete(beside, world)
            for number, member in enumerate(self._strategies):
                started = time.perf_counter()
                member.optimizer.update()
                member.project("step")
                self.seconds[number] += time.perf_counter() - started

    def _complete(self, beside: Sequence[list[Tensor | None]], world: int) -> None:
        """Add what gradients have beside the products, and the shares of all processes."""
        for member, direct in zip(self._strategies, beside, strict=True):
            member.gradients.add(direct)
        if world > 1:
            others = [gradient for member in self._strategies for gradient in member.gradients.beside_head]
            for gradient in (self._pool.of_weight, self._pool.of_bias, *others):
                torch.distributed.all_reduce(gradient)

    def _tell(self, hook: str, *arguments: Any, checkpoints: bool | None = None) -> None:
        """Call a hook of the callbacks: of all of them, or of those alone that are, or are not, checkpoints."""
        for member, callbacks in zip(self._strategies, self._callbacks, strict=True):
            for callback in callbacks:
                if checkpoints is None or isinstance(callback, Checkpoint) == checkpoints:
                    getattr(callback, hook)(self.trainer, member, *arguments)
