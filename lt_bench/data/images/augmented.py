"""Training batches of image files: each image is decoded and augmented by its own seed, in worker processes ahead of the network."""

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
from lt_bench.data.images.views import CHUNK_BYTES, collate

Item = tuple[int, int]
"""Position of an image and the seed of its augmentation."""


class AugmentedImages(Dataset[tuple[Tensor, str]]):
    """Augmented images, indexed by position and seed.

    Args:
        images: the image files.
        evaluation: from an RGB image to its evaluation view (3, size, size) uint8, which augmentations without a crop start from.
        augmentation: the random augmentation.
        upright: turn as the EXIF orientation says.
    """

    def __init__(
        self, images: ImageList, evaluation: Callable[[Image.Image], Tensor], augmentation: Augmentation, *, upright: bool
    ) -> None:
        self.images, self.evaluation, self.augmentation, self.upright = images, evaluation, augmentation, upright

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: Item) -> tuple[Tensor, str]:
        """An augmented image (3, size, size) uint8 and an empty message; for an image that cannot be decoded, a black one and the reason."""
        i, seed = item
        try:
            image = decode(self.images.source(i), self.upright)
        except BrokenImage as error:
            return torch.zeros(3, self.augmentation.size, self.augmentation.size, dtype=torch.uint8), f"{self.images.name(i)}: {error}"
        plain = self.evaluation(image) if self.augmentation.of_evaluation else torch.empty(0)
        return self.augmentation.view(image, plain, seed), ""

    def chunk(self) -> int:
        """Images per chunk of a worker process."""
        return max(1, CHUNK_BYTES // (3 * self.augmentation.size**2))


class AugmentedBatches:
    """Batches of augmented images, as chunks (n, 3, size, size) uint8; worker processes live for all epochs.

    Args:
        dataset: the images.
        workers: decoding processes; 0 decodes in this one.
        pinned: whether chunks are in page-locked memory, which a GPU copies asynchronously.
    """

    def __init__(self, dataset: AugmentedImages, workers: int, pinned: bool) -> None:
        self._chunks = _Chunks(dataset.chunk())
        self._loader = DataLoader(
            dataset, batch_sampler=self._chunks, num_workers=workers, collate_fn=collate, prefetch_factor=4 if workers else None,
            persistent_workers=workers > 0, pin_memory=pinned,
            generator=torch.Generator(),  # without its own, the loader draws from dropout's global generator, in its first epoch alone
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
                    raise UserError(f"{broken}; mend it, or leave such images out with --skip-broken")
                parts.append(images)
                count += len(images)
            yield parts


class _Chunks:
    """The items of an epoch in chunks; no chunk crosses the end of a batch."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.batches: Sequence[Sequence[Item]] = ()

    def __iter__(self) -> Iterator[list[Item]]:
        for batch in self.batches:
            for start in range(0, len(batch), self.size):
                yield list(batch[start : start + self.size])

    def __len__(self) -> int:
        return sum(-(-len(batch) // self.size) for batch in self.batches)
