"""Near-identical images of different splits: frames of one track, copies at another size or compression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from lt_bench.data.images.decode import BrokenImage, decode
from lt_bench.data.images.image_list import Broken, FileData, ImageList, sample_name
from lt_bench.data.readers.small_images import ImageData, ImageSplit

Looks = NDArray[np.float32]
SIDE = 8
CLOSE, RATIO, NEIGHBOUR = 0.25, 0.15, 50
"""Two images are near-identical if their squared distance is below CLOSE, and below RATIO times that to the NEIGHBOUR-th after the nearest, which adapts to the data set.

Chosen by count on frames of traffic signs (tracks), CIFAR-100 and plankton (no tracks), see docs/own_data.md.
"""
DARK = 0.02
EVEN = float(np.log(DARK)) + 1e-4
"""Bound on log(DARK + spread) of a channel, up to which all its pixels are the same."""
MOST = 100_000
MANY = 0.1
EDGE = 0.8
"""Share of black or white pixels on an image's edge from which they count as its background."""
_CHUNK = 1 << 24  # distances at a time


@dataclass(frozen=True)
class Near:
    """Near-identical images across splits.

    Attributes:
        compared: images that were looked at, by split; more than ``MOST`` in all are thinned out evenly.
        images: of val and test, how many have a near-identical image in train.
        first: names of some of them with their nearest, and the split.
        constant: of every split, how many are of one colour.
        clipped: of every split, how many are black or white (0 or 255) in a channel on more than half of their pixels, and not as a background is.
        first_clipped: names of some of them, with their split.
        broken: of every split, the images that cannot be decoded, by position: the reason of each, which begins with its name.
    """

    compared: dict[str, int]
    images: dict[str, int]
    first: tuple[tuple[str, str, str], ...]
    constant: dict[str, int] = field(default_factory=dict)
    clipped: dict[str, int] = field(default_factory=dict)
    first_clipped: tuple[tuple[str, str], ...] = ()
    broken: Broken = field(default_factory=dict)

    @property
    def grouped(self) -> bool:
        """Whether near-identical images are so many that the images seem to come in groups."""
        return any(count > MANY * self.compared[split] for split, count in self.images.items())

    def record(self) -> dict[str, Any]:
        """Counts for the manifest."""
        return {
            "compared": self.compared,
            "near_identical_to_training": self.images,
            "constant_images": self.constant,
            "clipped_images": self.clipped,
        }

    def lines(self) -> list[str]:
        """Lines for the user; none where no image is near-identical, and none of one colour."""
        told = [
            f"near-identical images: {count:,} of {self.compared[split]:,} {split} images have one in train ({100 * count / self.compared[split]:.1f} %)"
            for split, count in self.images.items()
            if count
        ]
        told += [f"  {split}: {one} is like {other}" for split, one, other in self.first]
        if self.grouped:
            told.append(
                "so many suggest tracks, patients or sites that stand on both sides, and accuracies of remembering; split by group with --group-column or --group-pattern"
            )
        told += [
            f"{count:,} of {self.compared[split]:,} {split} images are of one colour (black, white, saturated?)"
            for split, count in self.constant.items()
            if count
        ]
        clipped = [split for split, count in self.clipped.items() if count > MANY * self.compared[split]]
        told += [
            f"{self.clipped[split]:,} of {self.compared[split]:,} {split} images are black or white in a channel on most of their pixels: were they scaled wrongly?"
            for split in clipped
        ]
        told += [f"  {split}: {one}" for split, one in self.first_clipped if split in clipped]
        return told


def near_images(data: ImageData | FileData, workers: int = 0) -> Near:
    """Compare the validation and test images of a data set with its training images.

    Time grows with the product of the sizes, seconds to half a minute for ``MOST`` images; memory is bounded.

    Args:
        data: the images.
        workers: processes that decode files.
    """
    share = min(1.0, MOST / sum(len(images) for images in data.splits.values()))
    rows = {split: np.unique(np.linspace(0, len(one) - 1, max(1, int(share * len(one)))).astype(int)) for split, one in data.splits.items()}
    seen = {split: looks_of(data.splits[split], rows[split], workers) for split in rows}
    looks, clipped = {split: one.looks for split, one in seen.items()}, {split: np.flatnonzero(one.clipped) for split, one in seen.items()}
    broken = {
        split: {int(rows[split][i]): f"{sample_name(data, split, int(rows[split][i]))}: {why}" for i, why in one.broken.items()}
        for split, one in seen.items()
    }
    counts, first = {}, []
    for split in (name for name in ("val", "test") if name in rows):
        held, nearest = near_rows(looks[split], looks["train"])
        counts[split] = len(held)
        for i, j in list(zip(held, nearest, strict=True))[:3]:
            first.append((split, sample_name(data, split, int(rows[split][i])), sample_name(data, "train", int(rows["train"][j]))))
    constant = {split: int((one[:, -3:] <= EVEN).all(1).sum()) for split, one in looks.items()}
    named = [(split, sample_name(data, split, int(rows[split][i]))) for split, hits in clipped.items() for i in hits[:3]]
    return Near(
        {split: len(one) for split, one in rows.items()}, counts, tuple(first), constant, {split: len(hits) for split, hits in clipped.items()},
        tuple(named), broken,
    )  # fmt: skip


def near_rows(held: NDArray[np.floating], train: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions (n,) of the rows of ``held`` (M, D) that are near a row of ``train`` (N, D), and the position (n,) of the nearest training row.

    Near is by ``CLOSE`` and ``RATIO``; with fewer than 2 ``NEIGHBOUR`` training rows, half their number takes the place of ``NEIGHBOUR``. Rows with NaN are near to none.
    """
    train_rows = np.flatnonzero(np.isfinite(train).all(1))
    train = train[train_rows].astype(np.float32)
    table = np.concatenate([2 * train, -np.square(train).sum(1, keepdims=True)], axis=1).T  # one product gives what distances need
    k = min(NEIGHBOUR, len(train) // 2)
    step = max(1, _CHUNK // max(1, len(train)))
    near, nearest = [], []
    for start in range(0, len(held) if k else 0, step):
        part = held[start : start + step].astype(np.float32)
        length = np.square(part).sum(1)
        alike = np.concatenate([part, np.ones((len(part), 1), np.float32)], axis=1) @ table
        close = np.flatnonzero(length - alike.max(1) < CLOSE)  # a comparison with NaN fails
        alike, length = alike[close], length[close]
        usual = length - np.partition(alike, -1 - k, axis=1)[:, -1 - k]
        closest = alike.argmax(1)
        stands_out = length - alike[np.arange(len(close)), closest] < RATIO * usual
        near.append(start + close[stands_out])
        nearest.append(train_rows[closest[stands_out]])
    return np.concatenate(near or [[]]).astype(np.int64), np.concatenate(nearest or [[]]).astype(np.int64)


@dataclass(frozen=True)
class Seen:
    """Outcome of one look at images.

    Attributes:
        looks: (n, D), of each an 8x8 picture in colour of mean 0 and length 1, beside the logarithms of its mean and spread per channel; NaN for broken ones.
        clipped: (n,), whether each is clipped.
        broken: by position, why an image cannot be decoded.
    """

    looks: Looks
    clipped: NDArray[np.bool_]
    broken: dict[int, str]


def looks_of(images: ImageSplit | ImageList, rows: NDArray[np.integer], workers: int = 0) -> Seen:
    """A look at the images at ``rows``."""
    if isinstance(images, ImageSplit):
        seen = [_seen(Image.fromarray(images.images[row].transpose(1, 2, 0))) for row in rows]
    else:
        seen = [one for batch in DataLoader(_Pictures(images, rows), batch_size=64, num_workers=workers, collate_fn=list) for one in batch]
    broken = {i: why for i, (*_, why) in enumerate(seen) if why}
    return Seen(_looks(np.stack([picture for picture, *_ in seen])), np.array([clipped for _, clipped, _ in seen]), broken)


def _seen(picture: Image.Image) -> tuple[NDArray[np.float32], bool, str]:
    """An image as 8x8 pixels (8, 8, 3), whether it is clipped, and an empty reason, since it was decoded."""
    pixels = np.asarray(picture)
    at_end = np.stack([pixels == 0, pixels == 255])  # (2, H, W, 3)
    edge = np.concatenate([at_end[:, 0], at_end[:, -1], at_end[:, :, 0], at_end[:, :, -1]], axis=1).mean(1)
    clipped = (at_end.mean((1, 2)) > 0.5) & (edge < EDGE)
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32), bool(clipped.any()), ""


class _Pictures(Dataset[tuple[NDArray[np.float32], bool, str]]):
    """Images as ``_seen`` returns them; NaN and the reason for an image that cannot be decoded."""

    def __init__(self, images: ImageList, rows: NDArray[np.integer]) -> None:
        self.images, self.rows = images, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[NDArray[np.float32], bool, str]:
        try:
            return _seen(decode(self.images.source(int(self.rows[i])), reduced=(8 * SIDE, 8 * SIDE)))
        except BrokenImage as error:
            return np.full((SIDE, SIDE, 3), np.nan, dtype=np.float32), False, str(error)


def _looks(pictures: NDArray[np.float32]) -> Looks:
    """Pictures (n, 8, 8, 3) of 0..255 to looks. Logarithms, because light multiplies; the sums keep their offset of ``DARK`` so that black is not far from dark."""
    values = pictures / 255
    centred = (values - values.mean((1, 2, 3), keepdims=True)).reshape(len(values), -1)
    shape = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    light = np.log(DARK + np.concatenate([values.mean((1, 2)), values.std((1, 2))], axis=1))
    return np.concatenate([shape, light], axis=1).astype(np.float32)
