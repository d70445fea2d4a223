"""A fit of heads as one LightningModule: one stack, or a pool of stacks that share their batches and products."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn

from lt_bench.core.processes import Processes, current
from lt_bench.engine.heads.gradients import Gradients, Share, trains_head
from lt_bench.engine.heads.overrides import Overrides
from lt_bench.engine.heads.replay import Capture, Replay
from lt_bench.engine.heads.sgd import HeadSGD
from lt_bench.features.source import FeatureSource
from lt_bench.strategies.contract import Batch, Strategy


def may_be_pooled(strategy: Strategy) -> bool:
    """Whether heads of the strategy can share a product with those of others: their logits are the features times weight plus bias, and both are trained."""
    return Overrides(type(strategy)).pools and trains_head(strategy)


class Member:
    """A stack in the course of a fit: its gradients, optimizer and history.

    Attributes:
        rows: one ``{"epoch", "loss" (list over heads), "factor"}`` an epoch.
        steps: optimizer steps so far.
        seconds: spent on this stack's own losses and updates.
        initial: the trained parameters before the first step.
    """

    def __init__(self, strategy: Strategy, train: FeatureSource, capture: bool) -> None:
        self.strategy, self.overrides = strategy, Overrides(type(strategy))
        self.gradients = Gradients(strategy, train.trained)
        self.captured = capture and (self.gradients.plain if strategy.capturable is None else strategy.capturable)
        self.optimizer = HeadSGD(
            strategy.parameters(), strategy.recipe, strategy.heads, strategy.relative_rates(), network=train.trained, captured=self.captured
        )
        self.dtype = strategy.weight.dtype if strategy.initial_head != "none" else next(strategy.parameters()).dtype
        self.loss_sum = torch.zeros(strategy.heads or 1, dtype=torch.float64, device=train.device)
        self.rows: list[dict[str, Any]] = []
        self.steps, self.steps_of_epoch, self.seconds = 0, 0, 0.0
        self.initial = [p.detach().clone() for p in strategy.parameters() if p.requires_grad]

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate of the epoch, and let the strategy prepare it."""
        self.optimizer.scale(self.strategy.recipe.factor(epoch))
        self.loss_sum.zero_()
        self.steps_of_epoch = 0
        with torch.no_grad():
            self.strategy.start_epoch(epoch)

    def step(self, share: Share) -> None:
        """One optimizer step on this process's share of a batch."""
        self.strategy.draws.share(share.labels.shape[-1], share.processes.rank, share.processes.world)
        if self.overrides.augments:
            share = replace(share, batch=self.strategy.augment(share.batch))
        logits, objective = self.gradients(share)
        with torch.no_grad():
            self.loss_sum.add_(objective)
            if logits is not None:
                self.strategy.observe(logits, share.batch)
                self.strategy.before_update(logits, share.batch)
            self.update()

    def update(self) -> None:
        """Update and project; call it without gradients."""
        self.optimizer.update()
        self.strategy.project("step")

    def mean_loss(self) -> float:
        """The mean training loss of the epoch so far, over all heads, on this process's share."""
        return float(self.loss_sum.mean() / self.steps_of_epoch)

    def end_epoch(self, epoch: int, processes: Processes) -> None:
        """Sum the statistics of all processes, let the strategy use them, and note the mean loss, with one synchronisation."""
        for tensor in self.strategy.statistics():
            processes.all_reduce(tensor)
        with torch.no_grad():
            self.strategy.end_epoch(epoch)
            self.strategy.project("epoch")
        loss = processes.all_reduce(self.loss_sum / self.steps_of_epoch)
        self.steps += self.steps_of_epoch
        self.rows.append({"epoch": epoch, "loss": loss.tolist(), "factor": self.strategy.recipe.factor(epoch)})


class SharedProduct:
    """Heads of several strategies in one tensor, order by order, so that logits and gradients of all are one product.

    Args:
        strategies: M strategies of S heads each, one for each batch order; their weights and biases become views of this tensor.
    """

    def __init__(self, strategies: Sequence[Strategy]) -> None:
        with torch.no_grad():
            self.weight = torch.stack([strategy.weight for strategy in strategies], 1)  # (S, M, K, D)
            self.bias = torch.stack([strategy.bias for strategy in strategies], 1)  # (S, M, K)
        self.of_weight, self.of_bias = torch.empty_like(self.weight), torch.empty_like(self.bias)
        for number, strategy in enumerate(strategies):
            strategy.weight.data, strategy.bias.data = self.weight[:, number], self.bias[:, number]

    def logits(self, features: Tensor) -> Tensor:
        """Logits of all M strategies (S, M, K, B) of features (S, B, D)."""
        S, M, K, D = self.weight.shape
        return torch.bmm(self.weight.view(S, M * K, D), features.transpose(1, 2)).view(S, M, K, -1).add_(self.bias.unsqueeze(-1))

    def differentiate(self, logits: Tensor, residuals: Sequence[Tensor], features: Tensor) -> None:
        """Write the gradients of weights and biases, given ``residuals``, the gradients (S, B, K) of each strategy's logits, which overwrite the logits."""
        S, M, K, D = self.weight.shape
        for own, residual in zip(logits.unbind(1), residuals, strict=True):
            columns = residual.transpose(1, 2)
            if (columns.data_ptr(), columns.stride()) != (own.data_ptr(), own.stride()):  # some lie in the place of their logits already
                own.copy_(columns)
        torch.sum(logits, -1, out=self.of_bias)
        torch.bmm(logits.view(S, M * K, -1), features, out=self.of_weight.view(S, M * K, D))


class HeadFit(LightningModule):
    """Stacks with equal samplers, batch sizes, epochs and views, fitted on the same batches; each keeps its own loss, rates and schedule.

    Args:
        strategies: one, or several for which ``may_be_pooled`` holds, each with one head for every batch order; on their device.
        train: the training features.
        repetitions: S, one per batch order.
        capture: makes a captured step of a step; None runs every step eagerly.
    """

    def __init__(self, strategies: Sequence[Strategy], train: FeatureSource, repetitions: tuple[int, ...], capture: Capture | None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.strategies = nn.ModuleList(strategies)
        self._train, self._repetitions, self._capture = train, repetitions, capture
        self._started, self._before = time.perf_counter(), 0.0
        self._row_labels, self._replay = train.labels.repeat(len(train.views)), None
        # Before anything, ``begin`` included, looks at the parameters to be fitted.
        self._product = SharedProduct(strategies) if len(strategies) > 1 else None
        for strategy in strategies:
            strategy.draws.seed(repetitions)
            strategy.begin_fit(train)
        self.members = [Member(strategy, train, capture is not None) for strategy in strategies]
        if self._product is not None:
            for number, member in enumerate(self.members):
                member.gradients.place(self._product.of_weight[:, number], self._product.of_bias[:, number])
        if not all(member.captured for member in self.members):
            self._capture = None

    def setup(self, stage: str) -> None:
        """Know the processes, and let every strategy know them and the Trainer."""
        self._processes = current()
        for member in self.members:
            member.strategy.trainer, member.strategy.processes = self.trainer, self._processes

    def configure_optimizers(self) -> list[HeadSGD]:
        """The optimizers of the members, so that checkpoints hold their momenta."""
        return [member.optimizer for member in self.members]

    def on_train_epoch_start(self) -> None:
        """Begin the epoch of every member, and drop captured graphs, which do not see what an epoch changes."""
        for member in self.members:
            member.begin_epoch(self.current_epoch)
        if any(member.overrides.differs_by_epoch for member in self.members):
            self._replay = None

    def training_step(self, order: Tensor, batch_idx: int) -> None:
        """Many optimizer steps: ``order`` (S, n) are rows of the concatenated training views in the order in which they are seen, B at a time."""
        size = self.members[0].strategy.recipe.batch_size
        for member in self.members:
            member.strategy.draws.start(self.current_epoch, batch_idx)
        step = self._step
        if self._capture is not None:
            step = self._replay = self._replay or Replay(self._capture, self._step, order, size)
        batches = order.split(size, dim=1)
        for index in batches:
            step(index)
        for member in self.members:
            member.steps_of_epoch += len(batches)

    def on_train_epoch_end(self) -> None:
        """End the epoch of every member."""
        for member in self.members:
            member.end_epoch(self.current_epoch, self._processes)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the history beside the state."""
        checkpoint["history"] = [{"rows": member.rows, "steps": member.steps, "seconds": member.seconds} for member in self.members]
        checkpoint["seconds"] = self.elapsed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the history and seconds of every member."""
        for member, history in zip(self.members, checkpoint["history"], strict=True):
            member.rows, member.steps, member.seconds = history["rows"], history["steps"], history["seconds"]
        self._before = checkpoint["seconds"]

    @property
    def elapsed(self) -> float:
        """Seconds of the fit, those before it was resumed included."""
        return time.perf_counter() - self._started + self._before

    def _step(self, index: Tensor) -> None:
        """One step of every member on the global batch ``index`` (S, B), of which this process computes every world-size-th column."""
        if self._product is None:
            self.members[0].step(self._share(index, self.members[0]))
        else:
            self._shared_step(index, self._product)

    def _share(self, index: Tensor, member: Member) -> Share:
        """The share of the one member, which may draw rows of its own."""
        strategy, processes = member.strategy, self._processes
        rows = self._redrawn(index, strategy) if member.overrides.redraws else index
        labels, mine = strategy.per_head(self._row_labels.take(rows)), processes.mine(rows, 1)
        features = self._train.gather(mine).to(member.dtype)
        own = processes.mine(labels, 1)
        numbers = strategy.per_head(mine % len(self._train)) if member.overrides.reads_rows else own
        if strategy.heads is None:
            return Share(Batch(features[0], own[0], numbers[0]), labels[0], processes)
        return Share(Batch(features, own, numbers), labels, processes)

    @staticmethod
    def _redrawn(index: Tensor, strategy: Strategy) -> Tensor:
        """The rows that the strategy draws instead, (H, B)."""
        drawn = strategy.redraw(index if strategy.heads is not None else index[0])
        return drawn if drawn.dim() == 2 else drawn.unsqueeze(0)

    def _shared_step(self, index: Tensor, product: SharedProduct) -> None:
        """One step of several members: their logits, and the gradients of their weights and biases, are one product each."""
        processes = self._processes
        labels, mine = self._row_labels.take(index), processes.mine(index, 1)
        features = self._train.gather(mine).to(product.weight.dtype)
        share = Share(Batch(features, processes.mine(labels, 1), mine % len(self._train)), labels, processes)
        logits, residuals, beside = product.logits(features), [], []
        for member, columns in zip(self.members, logits.unbind(1), strict=True):
            own, started = columns.transpose(1, 2), time.perf_counter()
            member.strategy.draws.share(index.shape[1], processes.rank, processes.world)
            objective, residual, direct = member.gradients.residual(own, share)
            with torch.no_grad():
                member.loss_sum.add_(objective)
                member.strategy.observe(own.detach(), share.batch)
            residuals.append(residual)
            beside.append(direct)
            member.seconds += time.perf_counter() - started
        with torch.no_grad():
            product.differentiate(logits, residuals, features)
            self._complete(beside, product)
            for member in self.members:
                started = time.perf_counter()
                member.update()
                member.seconds += time.perf_counter() - started

    def _complete(self, beside: Sequence[list[Tensor | None]], product: SharedProduct) -> None:
        """Add the gradients from outside the shared products, and sum all gradients over processes."""
        for member, direct in zip(self.members, beside, strict=True):
            member.gradients.add(direct)
        if self._processes.world > 1:
            others = [gradient for member in self.members for gradient in member.gradients.beside_head]
            for gradient in (product.of_weight, product.of_bias, *others):
                self._processes.all_reduce(gradient)


class ForMember(Callback):
    """A callback of one member, called by the Trainer with the member's strategy as the module.

    Args:
        callback: callback from the caller.
        member: member that the callback belongs to.
        number: number of the member, which tells the states of equal callbacks apart.
    """

    def __init__(self, callback: Callback, member: Member, number: int) -> None:
        self.callback, self.member, self._number = callback, member, number

    @property
    def state_key(self) -> str:
        """Key of the callback's state in a checkpoint."""
        return state_key(self.callback, self._number)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Pass on."""
        self.callback.setup(trainer, self.member.strategy, stage)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass on."""
        self.callback.on_fit_start(trainer, self.member.strategy)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass on."""
        self.callback.on_train_start(trainer, self.member.strategy)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Pass on."""
        self.callback.on_exception(trainer, self.member.strategy, exception)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass on."""
        self.callback.on_train_epoch_start(trainer, self.member.strategy)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass on."""
        self.callback.on_train_epoch_end(trainer, self.member.strategy)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass on."""
        self.callback.on_train_end(trainer, self.member.strategy)

    def state_dict(self) -> dict[str, Any]:
        """State of the callback."""
        return self.callback.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of the callback."""
        self.callback.load_state_dict(state_dict)


class CheckpointForMember(ForMember, Checkpoint):
    """A ``Checkpoint`` as a ``ForMember``; Lightning calls it once the module has ended its epoch."""


def state_key(callback: Callback | type[Callback], number: int = 0) -> str:
    """Key of a callback's state in checkpoints of a fit."""
    cls = callback if isinstance(callback, type) else type(callback)
    return f"{cls.__name__} of stack {number}"


def for_members(members: Sequence[Member], callbacks: Sequence[Sequence[Callback]]) -> list[Callback]:
    """The callbacks of every member as the Trainer takes them."""
    return [
        (CheckpointForMember if isinstance(callback, Checkpoint) else ForMember)(callback, member, number)
        for number, (member, own) in enumerate(zip(members, callbacks, strict=True))
        for callback in own
    ]
