"""Images that cannot be decoded are left out before training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from torch.utils.data import DataLoader, Dataset

from lt_bench.core.errors import UserError
from lt_bench.data.images.decode import BrokenImage, decode
from lt_bench.data.images.image_list import Broken, FileData, ImageList, identity


class _Reasons(Dataset[str]):
    """The reason why an image cannot be decoded, for each image; empty for intact ones."""

    def __init__(self, images: ImageList) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> str:
        try:
            decode(self.images.source(i))
        except BrokenImage as error:
            return f"{self.images.name(i)}: {error}"
        return ""


def broken_images(data: FileData, workers: int, rank: int = 0, world: int = 1) -> Broken:
    """Decode images once, in ``workers`` processes: every ``world``-th of each split from number ``rank``."""
    broken = {}
    for split, images in data.splits.items():
        mine = range(rank, len(images), world)
        loader = DataLoader(_Reasons(images), batch_size=32, sampler=mine, num_workers=workers, collate_fn=list)
        reasons = (reason for batch in loader for reason in batch)
        broken[split] = {i: reason for i, reason in zip(mine, reasons, strict=True) if reason}
    return broken


def without_broken(data: FileData, broken: Sequence[Mapping[str, Mapping[int, str]]]) -> tuple[FileData, tuple[str, ...]]:
    """Leave out the images that ``broken_images`` returned, one element of ``broken`` per process.

    Returns:
        The data set without these images, and the reason for each of them.

    Raises:
        UserError: a class has no training image left, or a split none at all.
    """
    splits, left_out = {}, []
    for name, images in data.splits.items():
        reasons = dict(sorted(item for share in broken for item in share[name].items()))
        splits[name] = images.take(np.setdiff1d(np.arange(len(images)), list(reasons))) if reasons else images
        left_out += reasons.values()
    if not left_out:
        return data, ()
    for name, images in splits.items():
        if not len(images):
            raise UserError(f"no image of {name} can be decoded; mend them: {'; '.join(left_out[:3])}")
    counts = np.bincount(splits["train"].labels, minlength=len(data.class_names))
    if not counts.all():
        empty = data.class_names[int(counts.argmin())]
        raise UserError(f"class {empty!r} has no training image that can be decoded; mend them: {'; '.join(left_out[:3])}")
    remaining = dataclasses.replace(data, splits=splits, train_counts=tuple(counts.tolist()), split_hash=identity(splits))
    return remaining, tuple(left_out)
