"""Whether a backbone was trained on the images that its features are to be measured or tuned on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lt_bench.core.content import Hashes
from lt_bench.core.errors import UserError
from lt_bench.data.hashes import BROKEN, pixel_hashes
from lt_bench.data.images.image_list import FileData
from lt_bench.data.readers.small_images import ImageData

TOLERATED = 1000
"""Images of a split for each of which one training image is tolerated: CIFAR-100's official test set shares 5 of 10,000 with its training set."""


@dataclass(frozen=True)
class Seen:
    """The training images of weights, as the weights state them.

    Attributes:
        trained_on: different images that the backbone was trained on; None where the weights do not say.
        images: by split (val, test): how many images of it are among them.
        val_seen: whether those of val are more than chance duplicates.
    """

    trained_on: int | None = None
    images: tuple[tuple[str, int], ...] = ()
    val_seen: bool = False

    def record(self) -> dict[str, Any]:
        """For the manifest."""
        if self.trained_on is None:
            return {"trained_on": "unknown; val_seen_by_backbone is the user's word"}
        return {"trained_on": f"{self.trained_on} known images", "seen_by_backbone": dict(self.images)}


def seen_images(data: ImageData | FileData, rows: Hashes | None, weights: object, workers: int = 0) -> Seen:
    """Compare a data set with the images that weights were trained on.

    Test images that are in the data set's own training split too are its duplicates (``data check --decode -1`` names them), and not counted.

    Args:
        data: the images.
        rows: hashes of the training images of the weights; None where they do not say.
        weights: name of the weights, for messages.
        workers: processes that decode files.

    Raises:
        UserError: more than one of ``TOLERATED`` test images are training images of the weights.
    """
    if rows is None:
        return Seen()
    hashes = {split: pixel_hashes(data.splits[split], workers) for split in ("val", "test") if split in data.splits}
    hits = {split: np.isin(values, rows) & (values != BROKEN) for split, values in hashes.items()}
    if hits["test"].any():
        hits["test"] &= ~np.isin(hashes["test"], pixel_hashes(data.splits["train"], workers))
    counts = {split: int(hit.sum()) for split, hit in hits.items()}
    if _matters(counts["test"], hits["test"]):
        raise UserError(
            f"{weights}: {counts['test']:,} of the {hits['test'].size:,} test images of {data.spec.name} are among the {rows.size:,} that these weights were trained on; "
            "measure on images they have not seen: the split of the training, or weights of another one"
        )
    return Seen(rows.size, tuple(counts.items()), "val" in hits and _matters(counts["val"], hits["val"]))


def _matters(count: int, hit: np.ndarray) -> bool:
    return count * TOLERATED > hit.size
