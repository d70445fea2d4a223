"""Leaving out the images that cannot be decoded, before anything is trained on the others."""

from __future__ import annotations

import dataclasses

import numpy as np
from torch.utils.data import DataLoader, Dataset

from lt_bench.data.decode import BrokenImage, decode
from lt_bench.data.image_list import FileData, ImageList, identity
from lt_bench.errors import UserError


class _Reasons(Dataset[str]):
    """Why each image cannot be decoded; empty where it can."""

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


def without_broken(data: FileData, workers: int) -> tuple[FileData, tuple[str, ...]]:
    """Decode every image once, in ``workers`` processes.

    Returns:
        The data set without those that cannot be decoded, and for each of them what is wrong.

    Raises:
        UserError: a class has no training image left.
    """
    splits, left_out = {}, []
    for name, images in data.splits.items():
        loader = DataLoader(_Reasons(images), batch_size=32, num_workers=workers, collate_fn=list)
        reasons = [reason for batch in loader for reason in batch]
        splits[name] = images.take(np.flatnonzero([not reason for reason in reasons])) if any(reasons) else images
        left_out += filter(None, reasons)
    if not left_out:
        return data, ()
    counts = np.bincount(splits["train"].labels, minlength=len(data.class_names))
    if not counts.all():
        empty = data.class_names[int(counts.argmin())]
        raise UserError(f"class {empty!r} has no training image that can be decoded; mend them: {'; '.join(left_out[:3])}")
    kept = dataclasses.replace(data, splits=splits, train_counts=tuple(counts.tolist()), split_hash=identity(splits))
    return kept, tuple(left_out)
