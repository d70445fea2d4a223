"""Repeated content: within a split, and in training and test. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.content import Hashes, row_hashes
from lt_bench.data.images.image_list import ImageList
from lt_bench.data.membership import contents
from lt_bench.data.readers.small_images import ImageSplit

Contents = Mapping[str, Hashes | NDArray[np.str_]]
"""Content of each image or row, by split."""
Name = Callable[[str, int], str]
"""Name of an image or row, by its split and position."""
FIRST = 3
"""Pairs that are named of each kind."""
NAMES = {"train": "training", "val": "validation", "test": "test"}
_LATER = ("test", "val", "train")  # of two splits, the one that is said to hold rows of the other


def image_contents(splits: Mapping[str, ImageSplit | ImageList]) -> Contents:
    """Content of each image: the hash of its pixels where they are in memory, else of its bytes; every file is read."""
    return {
        split: row_hashes(images.images) if isinstance(images, ImageSplit) else np.array(contents(images))
        for split, images in splits.items()
    }


@dataclass(frozen=True)
class Images:
    """Images behind the rows of features.

    Attributes:
        contents: of each.
        name: of each.
    """

    contents: Contents
    name: Name


@dataclass(frozen=True)
class Pair:
    """A row that has the content of another: split, position and label of both."""

    split: str
    row: int
    label: int
    other_split: str
    other_row: int
    other_label: int

    def words(self, name: Name, classes: Sequence[str]) -> str:
        """The pair by its names, and by its labels where they differ."""
        one, other = name(self.split, self.row), name(self.other_split, self.other_row)
        if self.label == self.other_label:
            return f"{one} is {other}"
        return f"{one}, labelled {classes[self.label]}, is {other}, labelled {classes[self.other_label]}"


@dataclass(frozen=True)
class Repeats:
    """Rows of repeated content, by kind.

    ``train``, ``val``, ``test``: rows that repeat an earlier row of their split; ``test in train``, ``val in train``, ``test in val``: rows whose content is in the other split too.

    Attributes:
        counts: number of rows of each kind.
        relabelled: number of these rows whose label differs from that of the first row of the same content.
        pairs: the first few pairs of each kind, those with two labels first.
        sizes: number of rows of each split.
    """

    counts: dict[str, int]
    relabelled: dict[str, int]
    pairs: dict[str, tuple[Pair, ...]]
    sizes: dict[str, int]

    def facts(self, what: str, name: Name, classes: Sequence[str]) -> list[tuple[str, list[str]]]:
        """A line for each kind that occurs, with its first pairs in words; test rows that are in training come first, marked OVERLAP.

        Args:
            what: noun for the rows: ``rows``, ``images``.
            name: names a row by its split and position.
            classes: (K,) names.
        """
        kinds = [kind for kind in ("test in train", "val in train", "test in val", "train", "val", "test") if self.counts.get(kind)]
        return [(self._line(kind, what), [pair.words(name, classes) for pair in self.pairs[kind]]) for kind in kinds]

    def _line(self, kind: str, what: str) -> str:
        one, _, other = kind.partition(" in ")
        count = f"{self.counts[kind]:,} of {self.sizes[one]:,} {NAMES[one]} {what}"
        labels = f", {self.relabelled[kind]:,} of them with another label (is one wrong?)" if self.relabelled[kind] else ""
        if not other:
            return f"{count} repeat another of the same split{labels}"
        lead, why = ("OVERLAP: ", "; what is measured there was trained on") if kind == "test in train" else ("overlap: ", "")
        return f"{lead}{count} are also {NAMES[other]} {what}{labels}{why}"

    def named_pairs(self, name: Name, classes: Sequence[str]) -> list[dict[str, Any]]:
        """The pairs for programs."""
        return [
            {"split": pair.split, "name": name(pair.split, pair.row), "label": classes[pair.label],
             "other_split": pair.other_split, "other_name": name(pair.other_split, pair.other_row), "other_label": classes[pair.other_label]}
            for pairs in self.pairs.values() for pair in pairs
        ]  # fmt: skip


def repeated(hashes: Contents, labels: Mapping[str, NDArray[np.integer]]) -> Repeats:
    """Find rows of equal content, within splits and across them.

    Args:
        hashes: hash (N,) of the content of each row, by split.
        labels: label (N,) of each row, by split.
    """
    unique = {split: np.unique(rows, return_index=True) for split, rows in hashes.items()}
    across = combinations([split for split in _LATER if split in hashes], 2)
    kinds = {split: (split, split) for split in hashes} | {f"{one} in {other}": (one, other) for one, other in across}
    counts, relabelled, pairs = {}, {}, {}
    for kind, (one, other) in kinds.items():
        first = _first_of(hashes[one], *unique[other])
        rows = np.flatnonzero(first != np.arange(first.size) if one == other else first >= 0)
        differ = labels[one][rows] != labels[other][first[rows]]
        counts[kind], relabelled[kind] = int(rows.size), int(differ.sum())
        shown = rows[np.argsort(~differ, kind="stable")[:FIRST]].tolist()
        pairs[kind] = tuple(Pair(one, row, int(labels[one][row]), other, int(first[row]), int(labels[other][first[row]])) for row in shown)
    return Repeats(counts, relabelled, pairs, {split: int(rows.size) for split, rows in hashes.items()})


def _first_of(rows: NDArray[Any], values: NDArray[Any], positions: NDArray[np.integer]) -> NDArray[np.int64]:
    """First position (N,) of each row's content in a split with the sorted unique contents ``values``, first at ``positions``; -1 where it is absent."""
    if not values.size:
        return np.full(rows.size, -1)
    at = np.searchsorted(values, rows).clip(max=values.size - 1)
    return np.where(values[at] == rows, positions[at], -1)
