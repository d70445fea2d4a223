"""The plain fit: a strategy as an ordinary LightningModule under a Trainer, on the batches that the engine draws. It defines what all other fits compute."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lt_bench.core.errors import UserError
from lt_bench.core.processes import current
from lt_bench.features.samplers import EpochOrder
from lt_bench.features.source import FeatureSource, training_views
from lt_bench.strategies.contract import Strategy


class BatchRows(Sampler[Tensor]):
    """Row numbers v * N + i of one batch after the other; Lightning calls ``set_epoch``.

    Args:
        order: of the epochs, of one repetition.
        size: samples of a batch.
    """

    def __init__(self, order: EpochOrder, size: int) -> None:
        self._order, self._size = order, size

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self._order.set_epoch(epoch)

    def __iter__(self) -> Iterator[Tensor]:
        for chunk in self._order:
            yield from chunk[0].split(self._size)


class Batches(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """The batch (features, labels, rows) of given rows.

    Args:
        train: the training features.
        dtype: of the features.
    """

    def __init__(self, train: FeatureSource, dtype: torch.dtype) -> None:
        self._train, self._dtype = train, dtype

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        index = index.to(self._train.device)
        rows = index % len(self._train)
        return self._train.gather(index).to(self._dtype), self._train.labels[rows], rows


class EpochLoss(Callback):
    """Mean loss of every epoch, with one synchronisation each."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.steps = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A new sum."""
        self._losses: list[Tensor] = []
        assert isinstance(pl_module, Strategy)
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]
        if type(pl_module).configure_optimizers is Strategy.configure_optimizers:  # whose first group may learn at a relative rate
            self._rate = pl_module.recipe.rate("lr") * pl_module.recipe.factor(trainer.current_epoch)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the loss."""
        self._losses.append(outputs["loss"].detach())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Average."""
        self.steps += len(self._losses)
        self.rows.append(
            {"epoch": trainer.current_epoch, "loss": float(torch.stack(self._losses).double().mean()), "lr": float(self._rate)}
        )


def epoch_order(strategy: Strategy, train: FeatureSource, orders: tuple[int, ...]) -> EpochOrder:
    """The batch orders of a fit."""
    recipe = strategy.recipe
    return EpochOrder(
        train.labels, strategy.class_counts.long(), strategy.sampler, orders, training_views(train, recipe.views),
        epochs=recipe.epochs, batch_size=recipe.batch_size, samples_of=recipe.samples_of, sample_weights=strategy.sample_weights,
    )  # fmt: skip


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence, within the block, Lightning's advice that does not apply here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")  # indices come from memory
        warnings.filterwarnings("ignore", ".*broadcast_buffers.*")  # its successor has other semantics and is not in every torch we support
        warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")  # Lightning's own
        yield


def fit_plain(
    strategy: Strategy, train: FeatureSource, repetition: int, callbacks: Sequence[Callback] = ()
) -> tuple[list[dict[str, float]], int, list[Tensor]]:
    """Fit one head under a Trainer, on the batches and with the random numbers of a repetition; its history, the number of steps, and its initial parameters.

    Raises:
        UserError: on several processes, where a training step of the strategy's own would not know how losses are reduced.
    """
    if current().world > 1:
        raise UserError(f"{strategy.name} trains in its own way, which is fitted on one process; leave out --devices")
    recipe, history = strategy.recipe, EpochLoss()
    dtype = strategy.dtype
    assert isinstance(dtype, torch.dtype)
    trainer = Trainer(
        accelerator="cuda" if train.device.type == "cuda" else "cpu", devices=1, max_epochs=recipe.epochs, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, callbacks=[history, *callbacks],
    )  # fmt: skip
    order = epoch_order(strategy, train, (repetition,))
    strategy.draws.seed((repetition,))
    strategy.begin_fit(train)
    initial = [p.detach().clone() for p in strategy.parameters() if p.requires_grad]
    with quiet_lightning():
        trainer.fit(strategy, DataLoader(Batches(train, dtype), sampler=BatchRows(order, recipe.batch_size), batch_size=None))
    return history.rows, history.steps, initial
