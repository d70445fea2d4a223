"""Stage 1, independent of the source of images: optimisation, loss, mixed precision, figures of an epoch, validation."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional as F

from lt_bench.backbones.base import Backbone
from lt_bench.core.errors import UserError
from lt_bench.core.processes import Processes, current
from lt_bench.core.seeds import derive_seed
from lt_bench.data.images.augment import Normalise
from lt_bench.engine.pretrain.recipes import Stage1Recipe
from lt_bench.metrics.accuracy import ClassAccuracy

Precision = Literal["bf16", "fp32"]
EVALUATION_BATCH = 500


class Stage1(LightningModule, ABC):
    """Stage-1 training of a backbone with cross-entropy.

    Every process takes its share of the same global batches; batch statistics are synchronised on CUDA. What a subclass adds is where batches come from.

    Args:
        network: the backbone.
        normalise: uint8 images to inputs.
        samples: N training images.
        num_classes: K.
        recipe: optimisation.
        seed: of batch order, augmentation and mixup.
        precision: bf16 (autocast) or fp32.
    """

    loss_sum: Tensor
    correct: Tensor

    def __init__(
        self,
        network: Backbone,
        normalise: Normalise,
        samples: int,
        num_classes: int,
        recipe: Stage1Recipe,
        *,
        seed: int,
        precision: Precision,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = network.to(memory_format=torch.channels_last)
        self.normalise, self.samples, self.num_classes = normalise, samples, num_classes
        self.recipe, self.seed, self.precision, self.batch = recipe, seed, precision, recipe.optimisation.batch_size
        self.register_buffer("loss_sum", torch.zeros((), dtype=torch.float64), persistent=False)
        self.register_buffer("correct", torch.zeros((), dtype=torch.long), persistent=False)

    @abstractmethod
    def val_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the validation images: uint8 (B, 3, H, W) and labels (B,), on the device; none where there is no such split."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD whose rate is a tensor, so that a captured step sees it change."""
        o = self.recipe.optimisation
        return torch.optim.SGD(
            self.network.parameters(), lr=torch.tensor(0.0), momentum=_one(o.momentum), weight_decay=_one(o.weight_decay), nesterov=o.nesterov, fused=True
        )  # fmt: skip

    def on_train_start(self) -> None:
        """Put the learning rate, which a checkpoint restores on the host, on the device."""
        world, tail = self.processes.world, self.samples % self.batch
        if 0 < tail < world or self.batch < world:
            raise UserError(f"a batch of {tail or self.batch} images cannot be shared by {world} processes; use fewer")
        self._group()["lr"] = torch.zeros((), device=self.device)

    def on_train_epoch_start(self) -> None:
        """Begin the figures of the epoch and set its learning rate."""
        self.loss_sum.zero_()
        self.correct.zero_()
        self._group()["lr"].fill_(self.learning_rate(self.current_epoch))

    def learning_rate(self, epoch: int) -> float:
        """The rate of an epoch."""
        return _one(self.recipe.optimisation.lr) * self.recipe.optimisation.factor(epoch)

    def descend(self, images: Tensor, labels: Tensor, weight: Tensor, batch: int) -> None:
        """One optimizer step on this process's share of a batch.

        Args:
            images: normalised, at the positions of ``batch_share``: (b, 3, H, W), or (b + 1, 3, H, W) where the recipe mixes.
            labels: of each.
            weight: (1,) of each image in its mixture with the one before it; used where the recipe mixes.
            batch: size of the global batch.
        """
        optimizer = self._optimizer()
        optimizer.zero_grad(set_to_none=True)
        before = labels[:-1]
        if self.recipe.mixup:
            images = weight.view(1, 1, 1, 1) * images[1:] + (1 - weight).view(1, 1, 1, 1) * images[:-1]
            labels = labels[1:]
        with self.autocast():
            logits = self.network(images)
        loss = F.cross_entropy(logits.float(), labels, reduction="sum")
        if self.recipe.mixup:
            mixed = F.cross_entropy(logits.float(), before, reduction="sum")
            loss = (weight * loss + (1 - weight) * mixed).squeeze(0)
        self.manual_backward(loss * (self.processes.world / batch))  # DDP averages over processes: together the mean over the global batch
        optimizer.step()
        self.loss_sum += loss.detach()
        self.correct += (logits.detach().argmax(1) == labels).sum()

    def autocast(self) -> torch.autocast:
        """Mixed precision. Entered anew by every forward, so that no cast of a weight outlives the step that updates it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def epoch_figures(self) -> dict[str, float]:
        """Mean loss and accuracy of the epoch over the batches as they were trained on; the one synchronisation of an epoch."""
        sums = self.processes.all_reduce(torch.stack([self.loss_sum, self.correct.double()]))
        loss, correct = (sums / self.samples).tolist()
        return {"loss": loss, "train_accuracy": correct}

    @torch.no_grad()
    def val_accuracy(self) -> float:
        """Macro accuracy on validation images over the classes that have any; NaN where there is no validation split."""
        for buffer in self.network.buffers():  # where batch statistics are not synchronised, those of the first process are kept
            self.processes.broadcast(buffer)
        self.network.eval()
        metric = ClassAccuracy(self.num_classes).to(self.device)
        self.processes.each_does(lambda: self._test(metric))
        self.network.train()
        correct, total = metric.compute()
        return float((correct[total > 0] / total[total > 0]).double().mean())

    @functools.cached_property
    def processes(self) -> Processes:
        """Processes that train together: an error that stops one of them stops all, with one line."""
        return current(self.device, own_channel=True)

    def _test(self, metric: ClassAccuracy) -> None:
        for images, labels in self.val_batches():
            with self.autocast():
                logits = self.network.forward(self.normalise(images))  # never compiled
            metric.update(logits.argmax(1), labels)

    def _optimizer(self) -> torch.optim.Optimizer:
        return self.trainer.optimizers[0]

    def _group(self) -> dict[str, Any]:
        return self._optimizer().param_groups[0]


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """The order (n,) of images in an epoch, the same in a resumed run and in every process."""
    return torch.from_numpy(np.random.default_rng(derive_seed("order", seed, epoch)).permutation(n))


def mixing_weights(batches: int, seed: int, epoch: int, alpha: float) -> Tensor:
    """Mixing weight of every batch of an epoch, float32; 1 without mixup."""
    generator = np.random.default_rng(derive_seed("mixup", seed, epoch))
    return torch.from_numpy((generator.beta(alpha, alpha, batches) if alpha else np.ones(batches)).astype(np.float32))


def batch_share(batch: int, processes: Processes, mixes: bool, device: torch.device | None = None) -> Tensor:
    """Positions in a global batch that this process takes: a run of them.

    Where the recipe mixes, each image is mixed with the one before it in the global batch, so the position before the run leads it (before the first is the
    last), and the partners are the same on any number of processes.
    """
    part = processes.part(batch)
    return torch.arange(part.start - mixes, part.stop, device=device) % batch


def _one(value: float | tuple[float, ...]) -> float:
    return value[0] if isinstance(value, tuple) else value
