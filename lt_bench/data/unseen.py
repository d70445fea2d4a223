"""Validation images beyond those that a data set has by itself: all that are in neither train nor test. Free of torch."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.content import row_hashes
from lt_bench.core.errors import UserError
from lt_bench.data.splits import Rows

PerClass = int | Literal["all"]
"""Validation images of a class: at most this number, or all."""


def per_class_limit(per_class: PerClass) -> int | None:
    """The most images of a class; None for all.

    Raises:
        UserError: a number below 1.
    """
    if per_class == "all":
        return None
    if per_class < 1:
        raise UserError(f"--val-per-class is {per_class}, expected a whole number from 1, or all")
    return per_class


def first_of_each_class(labels: NDArray[np.integer], most: int | None) -> Rows:
    """Positions of the first images of each class, at most ``most`` (None: all), class after class, in their order within each.

    Raises:
        UserError: there is no image.
    """
    if not labels.size:
        raise UserError("--val-per-class: every image is in the training subset or in test, so none is left for validation; leave it out")
    return np.concatenate([np.flatnonzero(labels == c)[:most] for c in range(int(labels.max()) + 1)])


def not_among(images: NDArray[np.uint8], *others: NDArray[np.uint8]) -> Rows:
    """Positions of the images (N, 3, H, W) whose pixels equal no image of ``others``; of equal images, the first."""
    hashes = row_hashes(images)
    first = np.zeros(hashes.size, dtype=bool)
    first[np.unique(hashes, return_index=True)[1]] = True
    return np.flatnonzero(first & ~np.isin(hashes, np.concatenate([row_hashes(other) for other in others])))


def words(most: int | None, sources: str, left_out: int = 0) -> str:
    """Origin of the validation images."""
    which = "all" if most is None else f"up to {most:,} a class"
    without = f", without {left_out:,} whose pixels are in train, in test or there twice" if left_out else ""
    return f"{which} of {sources} outside the subset{without}"
