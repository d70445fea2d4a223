"""Images by the hash of their pixels: the same from any file format that keeps them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch.utils.data import DataLoader, Dataset

from lt_bench.core.content import Hashes, bytes_hash, row_hashes
from lt_bench.data.images.decode import BrokenImage, decode
from lt_bench.data.images.image_list import ImageList
from lt_bench.data.readers.small_images import ImageSplit

BROKEN = 0


class _Pixels(Dataset[int]):
    """The hash of the upright RGB pixels of each image; ``BROKEN`` for one that cannot be decoded."""

    def __init__(self, images: ImageList) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> int:
        try:
            return int(row_hashes(np.asarray(decode(self.images.source(i)))[None])[0])
        except BrokenImage:
            return BROKEN


def files_version(splits: Mapping[str, ImageSplit] | Mapping[str, ImageList]) -> int | None:
    """A hash (64 bits, signed) of path, size and time of change of every image file; None where pixels are in memory, which are hashed in no time."""
    said = []
    for split in splits.values():
        if isinstance(split, ImageSplit):
            return None
        if split.encoded is not None:  # their paths are hashes of their bytes
            said.append(repr(split.paths))
            continue
        for path in split.paths:
            status = (split.root / path).stat()
            said.append(f"{split.root / path} {status.st_size} {status.st_mtime_ns}")
    return int(np.uint64(bytes_hash("\n".join(said).encode())).astype(np.int64))


def pixel_hashes(images: ImageSplit | ImageList, workers: int = 0) -> Hashes:
    """Hashes (N,) of the pixels of images; files are decoded by ``workers`` processes (0: in this one)."""
    if isinstance(images, ImageSplit):
        return row_hashes(images.images.transpose(0, 2, 3, 1))
    loader = DataLoader(_Pixels(images), batch_size=32, num_workers=workers, collate_fn=list)
    return np.fromiter((value for batch in loader for value in batch), np.uint64, len(images))
