"""Stage 1 on image files of any size, decoded and augmented by processes ahead of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.transform import Transform
from lt_bench.core.errors import UserError
from lt_bench.core.processes import Processes
from lt_bench.core.seeds import derive_seed
from lt_bench.data.images.augment import Normalise
from lt_bench.data.images.augmented import AugmentedBatches, AugmentedImages, Item
from lt_bench.data.images.image_list import FileData
from lt_bench.data.images.transforms import Augmentation
from lt_bench.data.images.views import ImageViews, chunks
from lt_bench.engine.pretrain.recipes import Stage1Recipe
from lt_bench.engine.pretrain.stage1 import Precision, Stage1, batch_share, epoch_order, mixing_weights

Batch = tuple[list[Tensor], Tensor, Tensor, int]
"""This process's share of a batch (``batch_share``): chunks of images uint8, their labels, mixing weight (1,), and the size of the global batch."""


@dataclass(frozen=True)
class FileInputs:
    """Settings that turn files into inputs: the evaluation view, the augmentation, whether EXIF turns them, and the decoding processes (0: none)."""

    evaluation: Transform
    augmentation: Augmentation
    upright: bool
    workers: int


class FilePretraining(Stage1):
    """Stage 1 on image files.

    An image's augmentation is drawn from a seed of run, epoch and image, so any number of processes and a resumed run see the same pixels.

    Args:
        network: the backbone.
        data: the images; only train and val are used.
        inputs: how they are read.
        recipe: optimisation.
        seed: of batch order, augmentation and mixup.
        precision: bf16 (autocast) or fp32.
    """

    def __init__(
        self, network: Backbone, data: FileData, inputs: FileInputs, recipe: Stage1Recipe, *, seed: int = 0, precision: Precision = "fp32"
    ) -> None:
        normalise = Normalise(inputs.evaluation.mean, inputs.evaluation.std)
        super().__init__(network, normalise, len(data.splits["train"]), len(data.train_counts), recipe, seed=seed, precision=precision)
        self.data, self.inputs = data, inputs

    def train_dataloader(self) -> Epochs:
        """This process's share of every batch."""
        train, inputs = self.data.splits["train"], self.inputs
        dataset = AugmentedImages(train, inputs.evaluation.pixels, inputs.augmentation, upright=inputs.upright)
        batches = AugmentedBatches(dataset, inputs.workers, pinned=self.device.type == "cuda")
        return Epochs(batches, self._epoch, -(-self.samples // self.batch), self.processes)

    def _epoch(self) -> Epoch:
        labels = torch.from_numpy(self.data.splits["train"].labels)
        return Epoch.make(labels, self.seed, self.current_epoch, self.batch, self.recipe.mixup, self.processes)

    def training_step(self, batch: Batch) -> None:
        """One optimizer step."""
        parts, labels, weight, total = batch
        images = torch.cat(parts).contiguous(memory_format=torch.channels_last)
        self.descend(self.normalise(images), labels, weight, total)

    def val_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The evaluation view of the files."""
        if "val" not in self.data.splits:
            return
        images, inputs = self.data.splits["val"], self.inputs
        dataset = ImageViews(images, ("plain",), inputs.evaluation.pixels, inputs.augmentation, upright=inputs.upright)
        part, labels = self.processes.part(len(images)), torch.from_numpy(images.labels)
        start = part.start
        for chunk in chunks(dataset, [(part.start, part.stop)], inputs.workers):
            for i, why in chunk.broken:
                raise UserError(f"{images.name(i)}: {why}; mend it, or leave such images out with --skip-broken")
            end = start + len(chunk.images)
            yield chunk.images[:, 0].to(self.device), labels[start:end].to(self.device)
            start = end


@dataclass(frozen=True)
class Epoch:
    """One process's share of an epoch: by batch its items, their labels, the mixing weight, and the size of the global batch."""

    items: Sequence[Sequence[Item]]
    labels: Sequence[Tensor]
    mix: Tensor
    totals: Sequence[int]

    @staticmethod
    def make(labels: Tensor, seed: int, epoch: int, batch: int, mixup: float, processes: Processes) -> Epoch:
        """This process's share."""
        whole = epoch_order(len(labels), seed, epoch).split(batch)
        mine = [part[batch_share(len(part), processes, bool(mixup))] for part in whole]
        items = [[(i, derive_seed("augment", seed, epoch, i)) for i in part.tolist()] for part in mine]
        return Epoch(items, [labels[part] for part in mine], mixing_weights(len(whole), seed, epoch, mixup), [len(part) for part in whole])


class Epochs:
    """Iterable over an epoch's batches, for Lightning. An image that one process cannot decode ends all of them, before they wait for its gradients."""

    def __init__(self, batches: AugmentedBatches, epoch: Callable[[], Epoch], length: int, processes: Processes) -> None:
        self._batches, self._epoch, self._length, self._processes = batches, epoch, length, processes

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._epoch()  # asked for with the first batch, when the Trainer has counted
        batches = self._batches.epoch(epoch.items)
        for number in range(len(self)):
            parts = self._processes.each_does(lambda: next(batches))
            yield parts, epoch.labels[number], epoch.mix[number : number + 1], epoch.totals[number]
