"""Sources of pixels for an extraction: small images cut out on the device, or files decoded ahead in processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lt_bench.backbones.transform import Transform
from lt_bench.core.resources import usable_cores
from lt_bench.core.seeds import derive_seed
from lt_bench.data.images.augment import Crops, crop, padded
from lt_bench.data.images.image_list import FileData
from lt_bench.data.images.transforms import Augmentation
from lt_bench.data.images.views import ImageViews, chunks
from lt_bench.data.readers.small_images import ImageData

Run = tuple[int, int]


@dataclass(frozen=True)
class Batch:
    """Views (n, V, 3, H, W) uint8 of the positions from ``start``, and why each broken one of them (its views are black) could not be read."""

    start: int
    images: Tensor
    broken: dict[int, str] = field(default_factory=dict)


class Source(Protocol):
    """Pixels of a data set."""

    def batches(self, split: str, views: Sequence[str], runs: Sequence[Run]) -> Iterator[Batch]:
        """One batch for every run of positions, in order."""
        ...


class MemorySource:
    """Decoded small images, cropped on the device."""

    def __init__(self, data: ImageData, device: torch.device) -> None:
        self.data, self.device = data, device

    def batches(self, split: str, views: Sequence[str], runs: Sequence[Run]) -> Iterator[Batch]:
        """See ``Source``."""
        store = padded(self.data.splits[split].images).to(self.device)
        draws = [view_draws(view, len(store)).to(self.device) for view in views]
        for start, stop in runs:
            index = torch.arange(start, stop, device=self.device)
            yield Batch(start, torch.stack([crop(store, index, one[index]) for one in draws], dim=1))


class FileSource:
    """Image files, decoded once for all views, ``workers`` processes ahead of the backbone (0: in this process)."""

    def __init__(self, data: FileData, evaluation: Transform, augmentation: Augmentation, *, upright: bool, workers: int) -> None:
        self.data, self.evaluation, self.augmentation, self.upright, self.workers = data, evaluation, augmentation, upright, workers

    def batches(self, split: str, views: Sequence[str], runs: Sequence[Run]) -> Iterator[Batch]:
        """See ``Source``."""
        images = ImageViews(self.data.splits[split], views, self.evaluation.pixels, self.augmentation, upright=self.upright)
        decoded = chunks(images, runs, self.workers)
        for start, stop in runs:
            parts, broken, count = [], {}, 0
            while count < stop - start:
                chunk = next(decoded)
                parts.append(chunk.images)
                broken |= dict(chunk.broken)
                count += len(chunk.images)
            yield Batch(start, torch.cat(parts) if len(parts) > 1 else parts[0], broken)


def view_draws(view: str, n: int) -> Crops:
    """The augmentation of a view of small images: nothing for ``plain``, seeded crops and flips for ``aug<v>``."""
    return Crops.plain(n) if view == "plain" else Crops.random(n, np.random.default_rng(derive_seed("view", view)))


def default_workers(device: torch.device, processes: int = 1) -> int:
    """Decoding processes for each of the ``processes`` of a node: one per core beside GPUs, half of the cores where the backbone needs them too; at most 16."""
    cores = usable_cores()
    return max(1, min(16, (cores if device.type == "cuda" else cores // 2) // processes))
