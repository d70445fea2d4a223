"""Image files as training sees them: each decoded and augmented by a seed of its own, in processes ahead of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lt_bench.core.errors import UserError
from lt_bench.data.images.decode import BrokenImage, decode
from lt_bench.data.images.image_list import ImageList
from lt_bench.data.images.transforms import Augmentation
from lt_bench.data.images.views import CHUNK_BYTES

Item = tuple[int, int]
"""Position of an image and the seed of its augmentation."""


class AugmentedImages(Dataset[tuple[Tensor, str]]):
    """Images by position and seed.

    Args:
        images: which.
        evaluation: makes the evaluation view (3, size, size) uint8 of an RGB image, for augmentations of that.
        augmentation: what is drawn.
        upright: turn as the EXIF orientation says.
    """

    def __init__(
        self, images: ImageList, evaluation: Callable[[Image.Image], Tensor], augmentation: Augmentation, *, upright: bool
    ) -> None:
        self.images, self.evaluation, self.augmentation, self.upright = images, evaluation, augmentation, upright

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: Item) -> tuple[Tensor, str]:
        """An augmented image (3, size, size) uint8 and an empty text; a black one and what is wrong where it cannot be decoded."""
        i, seed = item
        try:
            image = decode(self.images.source(i), self.upright)
        except BrokenImage as error:
            return torch.zeros(3, self.augmentation.size, self.augmentation.size, dtype=torch.uint8), f"{self.images.name(i)}: {error}"
        plain = self.evaluation(image) if self.augmentation.flips_only else torch.empty(0)
        return self.augmentation.view(image, plain, seed), ""

    def chunk(self) -> int:
        """Images that a process hands over at once."""
        return max(1, CHUNK_BYTES // (3 * self.augmentation.size**2))


class AugmentedBatches:
    """Batches of augmented images, as chunks (n, 3, size, size) uint8; the processes that decode them stay from one epoch to the next.

    Args:
        dataset: the images.
        workers: decoding processes; 0 decodes in this one.
        pinned: whether to hand over page-locked memory, which a GPU copies while it works.
    """

    def __init__(self, dataset: AugmentedImages, workers: int, pinned: bool) -> None:
        self._chunks = _Chunks(dataset.chunk())
        self._loader = DataLoader(
            dataset, batch_sampler=self._chunks, num_workers=workers, collate_fn=_collate, prefetch_factor=4 if workers else None,
            persistent_workers=workers > 0, pin_memory=pinned,
        )  # fmt: skip

    def epoch(self, batches: Sequence[Sequence[Item]]) -> Iterator[list[Tensor]]:
        """The chunks of every batch, in order.

        Raises:
            UserError: an image is broken; names it.
        """
        self._chunks.batches = batches
        chunks = iter(self._loader)
        for batch in batches:
            parts, count = [], 0
            while count < len(batch):
                images, messages = next(chunks)
                if broken := next(filter(None, messages), ""):
                    raise UserError(f"{broken}; mend or remove it, or leave such images out with --skip-broken")
                parts.append(images)
                count += len(images)
            yield parts


class _Chunks:
    """The items of an epoch in pieces that do not reach over the end of a batch."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.batches: Sequence[Sequence[Item]] = ()

    def __iter__(self) -> Iterator[list[Item]]:
        for batch in self.batches:
            for start in range(0, len(batch), self.size):
                yield list(batch[start : start + self.size])

    def __len__(self) -> int:
        return sum(-(-len(batch) // self.size) for batch in self.batches)


def _collate(items: list[tuple[Tensor, str]]) -> tuple[Tensor, list[str]]:
    return torch.stack([image for image, _ in items]), [text for _, text in items]
