"""Views of image files: a torch data set, and a loader that decodes in worker processes ahead of the backbone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lt_bench.data.images.decode import BrokenImage, decode
from lt_bench.data.images.image_list import ImageList
from lt_bench.data.images.transforms import Augmentation

CHUNK_BYTES = 4 << 20  # per chunk of a worker process: containers have little shared memory


def view_seed(view: str, row: int) -> int:
    """The seed of an augmented view of the image in row ``row`` of its source: the same on every machine and in every order."""
    return int.from_bytes(hashlib.sha256(f"view/{view}/{row}".encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Chunk:
    """Views (n, V, 3, H, W) uint8 of n consecutive positions, and position and reason of each image that cannot be decoded (its views are black)."""

    images: Tensor
    broken: tuple[tuple[int, str], ...]


class ImageViews(Dataset[tuple[Tensor, str]]):
    """The views of every image of a list, decoded once for all of them.

    Args:
        images: the image files.
        views: names; ``plain`` is the evaluation view, others are augmented, seeded by view and row.
        evaluation: from an RGB image to its evaluation view (3, size, size) uint8.
        augmentation: of the other views.
        upright: turn as the EXIF orientation says.
    """

    def __init__(
        self,
        images: ImageList,
        views: Sequence[str],
        evaluation: Callable[[Image.Image], Tensor],
        augmentation: Augmentation,
        *,
        upright: bool,
    ) -> None:
        self.images, self.views, self.evaluation, self.augmentation, self.upright = images, tuple(views), evaluation, augmentation, upright

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, str]:
        """Views (V, 3, H, W) uint8 and an empty message; for an image that cannot be decoded, black ones and the reason."""
        try:
            image = decode(self.images.source(i), self.upright)
        except BrokenImage as error:
            size = self.augmentation.size
            return torch.zeros(len(self.views), 3, size, size, dtype=torch.uint8), str(error)
        row, plain = int(self.images.rows[i]), self.evaluation(image)
        views = [plain if view == "plain" else self.augmentation.view(image, plain, view_seed(view, row)) for view in self.views]
        return torch.stack(views), ""

    def chunk(self) -> int:
        """Images per chunk of a worker process."""
        return max(1, CHUNK_BYTES // (len(self.views) * 3 * self.augmentation.size**2))


def chunks(dataset: ImageViews, runs: Sequence[tuple[int, int]], workers: int) -> Iterator[Chunk]:
    """Decode runs of positions in order, ``workers`` processes ahead (0: in this one); no chunk crosses the end of a run."""
    size = dataset.chunk()
    positions = [list(range(start, min(start + size, stop))) for begin, stop in runs for start in range(begin, stop, size)]
    loader = DataLoader(dataset, batch_sampler=positions, num_workers=workers, collate_fn=collate, prefetch_factor=4 if workers else None)
    for wanted, (images, messages) in zip(positions, loader, strict=True):
        yield Chunk(images, tuple((i, text) for i, text in zip(wanted, messages, strict=True) if text))


def collate(items: list[tuple[Tensor, str]]) -> tuple[Tensor, list[str]]:
    """Stack the images of a chunk; the messages stay a list."""
    return torch.stack([views for views, _ in items]), [text for _, text in items]
