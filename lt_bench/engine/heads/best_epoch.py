"""The best epoch on the test set, which papers report and nobody may choose by: a column of its own, never the headline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from lt_bench.engine.heads.empty_classes import over_all_classes
from lt_bench.engine.heads.fit import Fitted
from lt_bench.engine.heads.stacks import head_of
from lt_bench.metrics.accuracy import ClassAccuracy
from lt_bench.metrics.evaluation import accuracy_scalars
from lt_bench.metrics.groups import shot_groups
from lt_bench.strategies.contract import Strategy


class BestTestEpoch(Checkpoint):
    """Test accuracy after every epoch; keeps the figures of the best one, per head.

    A ``Checkpoint``, so that Lightning calls it after the module has ended its epoch (projections, statistics).

    Args:
        features: gives the plain test view (N, D) under the backbone as it then is.
        labels: (N,).
        train_counts: (K,) training images per class.
    """

    def __init__(self, features: Callable[[], Tensor], labels: Tensor, train_counts: tuple[int, ...]) -> None:
        self._features, self._labels, self._counts, self._groups = features, labels, train_counts, shot_groups(train_counts)
        self.best: list[dict[str, float]] = []
        self.seconds = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A new fit."""
        self.best, self.seconds = [], 0.0

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure every head."""
        assert isinstance(pl_module, Strategy)
        started = time.perf_counter()
        features = self._features().to(pl_module.dtype)
        epoch = float(trainer.current_epoch + 1)
        latest = [{"epoch": epoch, **self._figures(head_of(pl_module, number), features)} for number in range(pl_module.heads or 1)]
        before = self.best or latest
        self.best = [new if new["accuracy"] > old["accuracy"] else old for new, old in zip(latest, before, strict=True)]
        self.seconds += time.perf_counter() - started

    def state_dict(self) -> dict[str, Any]:
        """The best epoch so far, for checkpoints."""
        return {"best": self.best, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best epoch so far."""
        self.best, self.seconds = state_dict["best"], state_dict["seconds"]

    def hand_over(self, fitted: Fitted) -> None:
        """Give the figures to a fit that is done; testing was no part of its seconds."""
        fitted.best_epochs = self.best
        fitted.seconds -= self.seconds

    def _figures(self, strategy: Strategy, features: Tensor) -> dict[str, float]:
        module = over_all_classes(strategy.inference_head(), self._counts)
        metric = ClassAccuracy(len(self._counts)).to(features.device)
        for rows, labels in zip(features.split(1 << 14), self._labels.split(1 << 14), strict=True):
            metric.update(module(rows).argmax(1), labels)
        correct, total = (counts.cpu().numpy() for counts in (metric.correct, metric.total))
        return accuracy_scalars(correct, total, self._groups)
