"""Stage 1 on small images that lie on the device, many optimizer steps a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lt_bench.backbones.base import Backbone
from lt_bench.core.seeds import derive_seed
from lt_bench.data.images.augment import Crops, Normalise, crop, padded
from lt_bench.data.readers.small_images import ImageData
from lt_bench.engine.cuda_graphs import GraphedStep
from lt_bench.engine.pretrain.recipes import Stage1Recipe
from lt_bench.engine.pretrain.stage1 import EVALUATION_BATCH, Precision, Stage1, batch_share, epoch_order, mixing_weights


@dataclass(frozen=True)
class EpochDraws:
    """All randomness of an epoch: the order (N,) of images, and by position in it the augmentation and the mixing weight (N,) of its batch."""

    order: Tensor
    images: Crops
    mix: Tensor

    @staticmethod
    def make(n: int, seed: int, epoch: int, batch: int, mixup: float) -> EpochDraws:
        """The draws of an epoch, from seeds of their own, so that a resumed run and any number of processes see the same."""
        augment = np.random.default_rng(derive_seed("augment", seed, epoch))
        weights = mixing_weights(-(-n // batch), seed, epoch, mixup)
        return EpochDraws(epoch_order(n, seed, epoch), Crops.random(n, augment), weights.repeat_interleave(batch)[:n])


class Pretraining(Stage1):
    """Stage 1 on images in memory.

    The whole training set, uint8, is a buffer. An epoch's order and augmentation are drawn ahead; a step gathers its batch by index, so nothing is loaded.
    On one CUDA device a step (gather, forward, backward, update) is a graph that is replayed; elsewhere the same code runs as it stands.

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
        train = data.splits["train"]
        n = len(train)
        normalise = Normalise(data.spec.mean, data.spec.std)
        super().__init__(network, normalise, n, len(data.train_counts), recipe, seed=seed, precision=precision)
        self.graphs, self.steps_per_call = graphs, steps_per_call
        state: dict[str, Tensor] = {
            "store": padded(train.images),
            "labels": torch.from_numpy(train.labels),
            "order": torch.zeros(n, dtype=torch.long),
            "corner": torch.zeros(n, 2, dtype=torch.long),
            "flip": torch.zeros(n, dtype=torch.bool),
            "mix": torch.ones(n),
            "position": torch.zeros((), dtype=torch.long),
        }
        if "val" in data.splits:
            val = data.splits["val"]
            state |= {"val_store": padded(val.images), "val_labels": torch.from_numpy(val.labels)}
        for name, tensor in state.items():
            self.register_buffer(name, tensor, persistent=False)
        self._one_step: Callable[[int], None] = self._step

    def train_dataloader(self) -> range:
        """The first position of each call's run of batches, the same in every process."""
        return range(0, self.samples, self.batch * self.steps_per_call)

    def on_train_start(self) -> None:
        """Capture the step where that is possible."""
        super().on_train_start()
        if self.graphs and self.device.type == "cuda" and self.processes.world == 1:
            self._one_step = GraphedStep(self._step)

    def on_train_epoch_start(self) -> None:
        """Draw the epoch's order and augmentation."""
        super().on_train_epoch_start()
        draws = EpochDraws.make(self.samples, self.seed, self.current_epoch, self.batch, self.recipe.mixup)
        pairs = ((self.order, draws.order), (self.corner, draws.images.corner), (self.flip, draws.images.flip), (self.mix, draws.mix))
        for buffer, drawn in pairs:
            buffer.copy_(drawn)
        self.position.zero_()

    def training_step(self, start: Any) -> None:
        """Several optimizer steps, from position ``start`` of the epoch's order."""
        n, first = self.samples, int(start)
        for begin in range(first, min(n, first + self.batch * self.steps_per_call), self.batch):
            self._one_step(min(self.batch, n - begin))

    def _step(self, batch: int) -> None:
        where = self.position + batch_share(batch, self.processes, bool(self.recipe.mixup), self.device)
        index = self.order[where]
        images = self.normalise(crop(self.store, index, Crops(self.corner[where], self.flip[where])))
        self.descend(images, self.labels[index], self.mix[where[:1]], batch)
        self.position += batch

    def val_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The images in memory."""
        if "val_store" not in dict(self.named_buffers()):
            return
        store, labels = self.get_buffer("val_store"), self.get_buffer("val_labels")
        part = self.processes.part(len(labels))
        for index in torch.arange(part.start, part.stop, device=self.device).split(EVALUATION_BATCH):
            yield crop(store, index, Crops.plain(len(index), self.device)), labels[index]
