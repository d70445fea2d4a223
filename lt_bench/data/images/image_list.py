"""Lists of images: files, or rows of a table that holds encoded images. Readers of layouts return them. Free of torch."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.names import counted
from lt_bench.data.hold_out import classes_of_one_group
from lt_bench.data.images.decode import BrokenImage, decode
from lt_bench.data.loaded import LoadedData
from lt_bench.data.split_remarks import split_remarks
from lt_bench.data.splits import Rows, listed_rows, split_hash

Broken = dict[str, dict[int, str]]
"""Images that cannot be decoded, by split and position: the reason of each, which begins with its name."""
NAMED = 3
"""Broken images that a refusal names."""


@dataclass(frozen=True)
class ImageList:
    """The images of one split, not opened yet.

    Attributes:
        root: folder that the paths are relative to; the table's file, for encoded images.
        paths: (N,) with forward slashes; for images in a table the SHA-256 of their bytes.
        labels: (N,) int64, 0..K-1.
        rows: (N,) row of each in its source (list file, table, or sorted folder).
        encoded: the images of a table that holds them, by row of the table.
        groups: (N,) track, patient or site of each, where they are known.
    """

    root: Path
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    rows: Rows
    encoded: pa.ChunkedArray | None = None
    groups: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, i: int) -> str:
        """Name of image i in messages: its file, or its row of the table."""
        return str(self.root / self.paths[i]) if self.encoded is None else f"{self.root}: row {self.rows[i]}"

    def short_name(self, i: int) -> str:
        """Name of image i below the root: its path, or its row of the table."""
        return self.paths[i] if self.encoded is None else f"row {self.rows[i]}"

    def source(self, i: int) -> Path | bytes:
        """File or encoded bytes of image i."""
        return self.root / self.paths[i] if self.encoded is None else self.encoded[int(self.rows[i])].as_py()

    def image(self, i: int, upright: bool = True) -> Image.Image:
        """Image i as RGB.

        Raises:
            UserError: it cannot be decoded; names the file.
        """
        try:
            return decode(self.source(i), upright)
        except BrokenImage as error:
            raise UserError(refusal([f"{self.name(i)}: {error}"])) from None

    def take(self, index: NDArray[np.integer]) -> ImageList:
        """The images at ``index``, in that order."""
        groups = None if self.groups is None else self.groups[index]
        return ImageList(self.root, tuple(self.paths[i] for i in index), self.labels[index], self.rows[index], self.encoded, groups)


def refusal(reasons: Sequence[str], most: int = NAMED) -> str:
    """A refusal of images that cannot be decoded, by the reason of each, which begins with its name: how many there are, and the first of them."""
    if len(reasons) == 1:
        return f"{reasons[0]}; mend it, or leave such images out with --skip-broken"
    named = "; ".join([*reasons[:most], *(["..."] if len(reasons) > most else [])])
    return f"{len(reasons):,} images cannot be decoded: {named}; mend them, or leave such images out with --skip-broken"


@dataclass(frozen=True)
class FileData(LoadedData):
    """A data set of image files: ``splits`` holds train, test and, where there are validation images, val."""

    splits: dict[str, ImageList]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks on names, on the classes of a single group, which have no held-out images, and on splits of a person's own images that lack classes or have other shares than were meant."""
        return (*super().remarks, *self._of_one_group, *self._of_splits)

    @property
    def _of_splits(self) -> tuple[str, ...]:
        if self.spec.num_classes is not None:
            return ()
        groups = [images.groups for images in self.splits.values() if images.groups is not None]
        number = np.unique(np.concatenate(groups)).size if groups else None
        own = "a split of your own (--split-column)" if self.spec.layout == "table" else "a split of your own (folders train, val and test)"
        labels = {split: images.labels for split, images in self.splits.items()}
        return split_remarks(labels, self.train_counts, self.class_names, self.val_source, number, own)

    @property
    def _of_one_group(self) -> tuple[str, ...]:
        groups = [images.groups for images in self.splits.values() if images.groups is not None]
        if not groups:
            return ()
        labels = np.concatenate([images.labels for images in self.splits.values()])
        single = [self.class_names[label] for label in classes_of_one_group(labels, np.concatenate(groups))]
        first = ", ".join(map(repr, single[:3])) + (", ..." if len(single) > 3 else "")
        classes = counted(len(single), "class trains and is not measured", "classes train and are not measured")
        said = f"{classes}, since all images of {'it' if len(single) == 1 else 'each'} are of one group: {first}"
        return (said,) if single else ()


def sample_name(data: LoadedData, split: str, i: int) -> str:
    """Sample i of a split, for messages: its path, or its number where images lie in memory."""
    return data.splits[split].name(i) if isinstance(data, FileData) else f"{split} image {i}"


def image_list(root: Path, paths: Sequence[str], labels: Iterable[int], rows: Rows | None = None) -> ImageList:
    """A list of images; rows are 0..N-1 by default."""
    return ImageList(root, tuple(paths), np.fromiter(labels, np.int64), np.arange(len(paths)) if rows is None else rows)


def identity(splits: Mapping[str, ImageList]) -> str:
    """Split hash from labels and relative paths."""
    return split_hash({name: listed_rows(split.paths, split.labels.tolist()) for name, split in splits.items()})


def absent(images: ImageList) -> list[str]:
    """Paths of missing files. Every folder is listed once, which is faster than a query per file.

    Raises:
        UserError: a folder cannot be read.
    """
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in images.paths:
        name = path.rpartition("/")[2]
        by_folder[path[: len(path) - len(name)]].append(name)
    missing: set[str] = set()
    for folder, names in by_folder.items():
        try:
            here = {entry.name for entry in os.scandir(images.root / folder) if not entry.is_symlink() or entry.is_file()}
        except PermissionError as error:  # they may be there
            raise unreadable(images.root / folder, error) from None
        except OSError:
            here = set()
        missing.update(folder + name for name in names if name not in here)
    return [path for path in images.paths if path in missing]


def require_present(images: ImageList, source: str, advice: str = "") -> None:
    """Refuse a list that points to absent images.

    Raises:
        UserError: gives the number of absent images, the first one, and the advice.
    """
    missing = absent(images)
    if missing:
        first = images.root / missing[0]
        near = [name for name in _names(first.parent) if name.lower() == first.name.lower()]
        hint = f" (there is {near[0]}: upper or lower case?)" if near else ""
        where = f"; {advice}" if advice else ""
        raise UserError(f"{source}: {len(missing):,} of {len(images):,} images are absent, the first is {first}{hint}{where}")


def check_rows(paths: Sequence[str], labels: Sequence[int] | NDArray[np.integer], source: str, first_line: int = 1) -> None:
    """Refuse a list that names an image twice.

    Raises:
        UserError: names both lines, and whether their labels differ.
    """
    if len(set(paths)) == len(paths):
        return
    seen: dict[str, int] = {}
    for i, path in enumerate(paths):
        if path in seen:
            j = seen[path]
            labelled = "" if labels[i] == labels[j] else f" with another label ({labels[j]} and {labels[i]})"
            raise UserError(f"{source}: line {i + first_line} repeats line {j + first_line}{labelled}: {path}; every image stands once")
        seen[path] = i


def check_labels(labels: NDArray[np.integer], num_classes: int, source: str) -> None:
    """Refuse labels outside 0..K-1.

    Raises:
        UserError: gives the range of the labels, with a hint if they seem to start at 1.
    """
    if labels.size == 0:
        raise UserError(f"{source}: lists no image")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        hint = " (labels from 1?)" if (low, high) == (1, num_classes) else ""
        raise UserError(f"{source}: labels {low}..{high}, expected 0..{num_classes - 1}{hint}")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return []
