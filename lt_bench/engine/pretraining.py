"""Stage 1: training a backbone on images that lie on the device, many optimizer steps a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional as F

from lt_bench.backbones.base import Backbone
from lt_bench.data.augment import Draws, Normalise, crop, padded
from lt_bench.data.small_images import ImageData
from lt_bench.engine.pretraining_graph import GraphedStep
from lt_bench.engine.pretraining_recipes import Stage1Recipe
from lt_bench.errors import UserError
from lt_bench.features.seeds import derive_seed
from lt_bench.metrics.accuracy import ClassAccuracy

Precision = Literal["bf16", "fp32"]
EVALUATION_BATCH = 500


@dataclass(frozen=True)
class EpochDraws:
    """All randomness of an epoch: the order (N,) of images, and by position in it the augmentation and the mixing weight (N,) of its batch."""

    order: Tensor
    images: Draws
    mix: Tensor

    @staticmethod
    def make(n: int, seed: int, epoch: int, batch: int, mixup: float) -> EpochDraws:
        """The draws of an epoch, from seeds of their own, so that a resumed run and any number of processes see the same."""
        order, augment, mix = (np.random.default_rng(derive_seed(axis, seed, epoch)) for axis in ("order", "augment", "mixup"))
        weights = mix.beta(mixup, mixup, -(-n // batch)) if mixup else np.ones(-(-n // batch))
        return EpochDraws(
            torch.from_numpy(order.permutation(n)), Draws.random(n, augment), torch.from_numpy(weights.astype(np.float32)).repeat_interleave(batch)[:n]
        )  # fmt: skip


class Pretraining(LightningModule):
    """Stage-1 training of a backbone with cross-entropy.

    The whole training set, uint8, is a buffer. An epoch's order and augmentation are drawn ahead; a step gathers its batch by index, so nothing is loaded.
    On one CUDA device a step (gather, forward, backward, update) is a graph that is replayed; elsewhere the same code runs as it stands. Under DDP every
    process takes its share of the same global batches; batch statistics are then synchronised on CUDA.

    Args:
        network: the backbone.
        data: the images; only train and val are used.
        recipe: optimisation.
        seed: of batch order, augmentation and mixup.
        precision: bf16 (autocast) or fp32.
        graphs: whether to capture the step on CUDA.
        steps_per_call: optimizer steps in one ``training_step``.
    """

    store: Tensor
    labels: Tensor
    order: Tensor
    corner: Tensor
    flip: Tensor
    mix: Tensor
    position: Tensor
    loss_sum: Tensor
    correct: Tensor

    def __init__(
        self,
        network: Backbone,
        data: ImageData,
        recipe: Stage1Recipe,
        *,
        seed: int = 0,
        precision: Precision = "fp32",
        graphs: bool = True,
        steps_per_call: int = 32,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = network.to(memory_format=torch.channels_last)
        self.normalise = Normalise(data.spec.mean, data.spec.std)
        self.recipe, self.seed, self.precision, self.graphs = recipe, seed, precision, graphs
        self.batch, self.steps_per_call = recipe.optimisation.batch_size, steps_per_call
        train = data.splits["train"]
        n = len(train)
        state: dict[str, Tensor] = {
            "store": padded(train.images),
            "labels": torch.from_numpy(train.labels),
            "order": torch.zeros(n, dtype=torch.long),
            "corner": torch.zeros(n, 2, dtype=torch.long),
            "flip": torch.zeros(n, dtype=torch.bool),
            "mix": torch.ones(n),
            "position": torch.zeros((), dtype=torch.long),
            "loss_sum": torch.zeros((), dtype=torch.float64),
            "correct": torch.zeros((), dtype=torch.long),
        }
        if "val" in data.splits:
            val = data.splits["val"]
            state |= {"val_store": padded(val.images), "val_labels": torch.from_numpy(val.labels)}
        for name, tensor in state.items():
            self.register_buffer(name, tensor, persistent=False)
        self.num_classes = len(data.train_counts)
        self._one_step: Callable[[int], None] = self._step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD whose rate is a tensor, so that a captured step sees it change."""
        o = self.recipe.optimisation
        return torch.optim.SGD(
            self.network.parameters(), lr=torch.tensor(0.0), momentum=_one(o.momentum), weight_decay=_one(o.weight_decay), nesterov=o.nesterov, fused=True
        )  # fmt: skip

    def train_dataloader(self) -> range:
        """The first position of each call's run of batches, the same in every process."""
        return range(0, len(self.labels), self.batch * self.steps_per_call)

    def on_train_start(self) -> None:
        """Put the learning rate, which a checkpoint restores on the host, on the device, and capture where that is possible."""
        world, tail = self.trainer.world_size, len(self.labels) % self.batch
        if 0 < tail < world or self.batch < world:
            raise UserError(f"a batch of {tail or self.batch} images cannot be shared by {world} processes; use fewer")
        self._group()["lr"] = torch.zeros((), device=self.device)
        if self.graphs and self.device.type == "cuda" and world == 1:
            self._one_step = GraphedStep(self._step)

    def on_train_epoch_start(self) -> None:
        """Draw the epoch's order and augmentation and set its learning rate."""
        draws = EpochDraws.make(len(self.labels), self.seed, self.current_epoch, self.batch, self.recipe.mixup)
        pairs = ((self.order, draws.order), (self.corner, draws.images.corner), (self.flip, draws.images.flip), (self.mix, draws.mix))
        for buffer, drawn in pairs:
            buffer.copy_(drawn)
        for counter in (self.position, self.loss_sum, self.correct):
            counter.zero_()
        self._group()["lr"].fill_(self.learning_rate(self.current_epoch))

    def learning_rate(self, epoch: int) -> float:
        """The rate of an epoch."""
        return _one(self.recipe.optimisation.lr) * self.recipe.optimisation.factor(epoch)

    def training_step(self, start: Any) -> None:
        """Several optimizer steps, from position ``start`` of the epoch's order."""
        n, first = len(self.labels), int(start)
        for begin in range(first, min(n, first + self.batch * self.steps_per_call), self.batch):
            self._one_step(min(self.batch, n - begin))

    def _step(self, batch: int) -> None:
        rank, world = self.global_rank, self.trainer.world_size
        where = self.position + torch.arange(rank, batch, world, device=self.device)
        index = self.order[where]
        images = self.normalise(crop(self.store, index, Draws(self.corner[where], self.flip[where])))
        labels = self.labels[index]
        optimizer = self._optimizer()
        optimizer.zero_grad(set_to_none=True)
        weight = self.mix[where[:1]]
        if self.recipe.mixup:
            images = weight.view(1, 1, 1, 1) * images + (1 - weight).view(1, 1, 1, 1) * images.roll(1, 0)
        with self.autocast():
            logits = self.network(images)
        loss = F.cross_entropy(logits.float(), labels, reduction="sum")
        if self.recipe.mixup:
            mixed = F.cross_entropy(logits.float(), labels.roll(1, 0), reduction="sum")
            loss = (weight * loss + (1 - weight) * mixed).squeeze(0)
        self.manual_backward(loss * (world / batch))  # DDP averages over processes: together the mean over the global batch
        optimizer.step()
        self.loss_sum += loss.detach()
        self.correct += (logits.detach().argmax(1) == labels).sum()
        self.position += batch

    def autocast(self) -> torch.autocast:
        """Mixed precision. Entered anew by every forward, so that no cast of a weight outlives the step that updates it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def epoch_figures(self) -> dict[str, float]:
        """Mean loss and accuracy of the epoch over the batches as they were trained on; the one synchronisation of an epoch."""
        sums = torch.stack([self.loss_sum, self.correct.double()])
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(sums)
        loss, correct = (sums / len(self.labels)).tolist()
        return {"loss": loss, "train_accuracy": correct}

    @torch.no_grad()
    def val_accuracy(self) -> float:
        """Macro accuracy on validation images over the classes that have any; NaN where there is no validation split."""
        if "val_store" not in dict(self.named_buffers()):
            return float("nan")
        self.network.eval()
        metric = ClassAccuracy(self.num_classes).to(self.device)
        store, labels = self.get_buffer("val_store"), self.get_buffer("val_labels")
        for index in torch.arange(len(labels), device=self.device).split(EVALUATION_BATCH):
            with self.autocast():
                logits = self.network.forward(self.normalise(crop(store, index, Draws.plain(len(index), self.device))))  # never compiled
            metric.update(logits.argmax(1), labels[index])
        self.network.train()
        correct, total = metric.compute()
        return float((correct[total > 0] / total[total > 0]).double().mean())

    def _optimizer(self) -> torch.optim.Optimizer:
        return self.trainer.optimizers[0]

    def _group(self) -> dict[str, Any]:
        return self._optimizer().param_groups[0]


def _one(value: float | tuple[float, ...]) -> float:
    return value[0] if isinstance(value, tuple) else value
