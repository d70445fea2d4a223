"""The same content in several places: within a split, and in training and test. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.content import Hashes, row_hashes
from lt_bench.data.images.image_list import ImageList
from lt_bench.data.membership import contents
from lt_bench.data.readers.small_images import ImageSplit

Contents = Mapping[str, Hashes | NDArray[np.str_]]
"""Content of each image or row, by split."""
_LATER = ("test", "val", "train")  # of two splits, the one that is said to hold rows of the other


def image_contents(splits: Mapping[str, ImageSplit | ImageList]) -> Contents:
    """Content of each image: the hash of its pixels where they are in memory, else of its bytes; every file is read."""
    return {
        split: row_hashes(images.images) if isinstance(images, ImageSplit) else np.array(contents(images))
        for split, images in splits.items()
    }


def repeated(hashes: Contents) -> dict[str, int]:
    """Counts of rows that stand more than once.

    Args:
        hashes: of the content of each row, by split.

    Returns:
        ``train``, ``val``, ``test``: rows that repeat an earlier one of their split; ``test in train``, ``val in train``, ``test in val``: rows that are also in the other.
    """
    within = {split: int(rows.size - np.unique(rows).size) for split, rows in hashes.items()}
    pairs = combinations([split for split in _LATER if split in hashes], 2)
    return within | {f"{one} in {other}": int(np.isin(hashes[one], hashes[other]).sum()) for one, other in pairs}


def repeated_lines(counts: Mapping[str, int], sizes: Mapping[str, int], what: str, first: str = "") -> list[str]:
    """The counts of ``repeated`` as lines, one a fact; test rows among the training rows come first, and loudly.

    Args:
        counts: what ``repeated`` returned.
        sizes: rows of each split.
        what: of what they are: rows, images.
        first: the first test row that is in training, in words.
    """
    names = {"train": "training", "val": "validation", "test": "test"}
    lines = []
    for pair in ("test in train", "val in train", "test in val"):
        one, _, other = pair.partition(" in ")
        if counts.get(pair):
            lead, why = ("OVERLAP: ", "; what is measured there was trained on") if pair == "test in train" else ("overlap: ", "")
            of = f" ({first})" if first and pair == "test in train" else ""
            lines.append(f"{lead}{counts[pair]:,} of {sizes[one]:,} {names[one]} {what} are also {names[other]} {what}{of}{why}")
    within = [f"{counts[split]:,} of {sizes[split]:,} {names[split]} {what}" for split in ("train", "val", "test") if counts.get(split)]
    return [*lines, f"{', '.join(within)} repeat another of the same split"] if within else lines
