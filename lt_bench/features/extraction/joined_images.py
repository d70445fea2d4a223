"""Images that were added to those of an earlier cache, or removed: every image is known by its content."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError
from lt_bench.data.images.image_list import FileData, ImageList, identity
from lt_bench.data.membership import Settled, contents, groups_of_two_splits
from lt_bench.features.cache import FeatureCache
from lt_bench.features.extraction.earlier import Earlier
from lt_bench.features.manifest import IMAGES

GROUP = "group"


@dataclass(frozen=True)
class Listed:
    """An image of an earlier cache: split and position there, path, class, and group where it was split by groups."""

    split: str
    position: int
    path: str
    label: str
    group: str | None


@dataclass(frozen=True)
class Changes:
    """Differences of images from those of an earlier cache.

    Attributes:
        joined: new images, by split.
        removed: images that are not there any more, by split.
        stayed: images that stay in the split that they were in, though they lie in another one now.
        relabelled: images that have another class now.
        new_classes: classes that the cache did not have.
        lost_classes: classes that only the cache had.
    """

    joined: Mapping[str, int]
    removed: Mapping[str, int]
    stayed: int
    relabelled: int
    new_classes: tuple[str, ...]
    lost_classes: tuple[str, ...]

    @property
    def none(self) -> bool:
        """Whether the images are those of the cache."""
        return not (any(self.joined.values()) or any(self.removed.values()) or self.relabelled)


@dataclass(frozen=True)
class CachedImages:
    """The images of a cache by their contents."""

    cache: FeatureCache
    images: Mapping[str, Sequence[Listed]]

    @classmethod
    def of(cls, cache: FeatureCache) -> CachedImages:
        """The images that a cache lists.

        Raises:
            UserError: the cache lists no images with their contents, or another number than it has features of.
        """
        path = cache.path / IMAGES
        images, counts = defaultdict(list), dict.fromkeys(cache.manifest.views, 0)
        sizes = {split: cache.manifest.arrays[f"{split}/labels"].shape[0] for split in counts}
        try:
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    position = counts.setdefault(row["split"], 0)
                    images[row["content"]].append(Listed(row["split"], position, row["path"], row["label"], row.get(GROUP)))
                    counts[row["split"]] += 1
        except (OSError, KeyError):
            raise UserError(
                f"{cache.path}: keeps no contents of its images, as caches of image files of your own do that this version extracts; extract them again to "
                "another place, run and export"
            ) from None
        if counts != sizes:
            raise UserError(
                f"{path}: lists {counts} images, and the features are of {sizes}; the file was altered, extract them again to another place"
            )
        return cls(cache, dict(images))

    @cached_property
    def settled(self) -> Settled:
        """The split of each content (the first, where several splits have it) and of each group."""
        groups = {one.group: one.split for listed in self.images.values() for one in listed if one.group is not None}
        return Settled({content: listed[0].split for content, listed in self.images.items()}, groups)

    def contents_of(self, split: str) -> list[str]:
        """Contents (N,) of the images of a split."""
        return [
            content
            for _, content in sorted(
                (one.position, content) for content, listed in self.images.items() for one in listed if one.split == split
            )
        ]

    def joined(self, data: FileData) -> tuple[FileData, Earlier, Changes]:
        """The data with each earlier image in its earlier split, the positions of the images in the cache, and the changes.

        An image is matched by its content, among several of one content by its path, and in a group of the cache within that group only. A copy of an earlier image joins the split
        of that image; a copy in another group of the cache, the split of the group.

        Raises:
            UserError: a class has no training image left, nothing is left to test on, or a group has images in two splits.
        """
        splits = ("train", "val", "test")
        known, now, paths, labels = [], [], [], []
        for split in splits:
            if split in data.splits:
                one = data.splits[split]
                groups = [None] * len(one) if one.groups is None else one.groups.tolist()
                known += [self._match(*image) for image in zip(contents(one), one.paths, groups, strict=True)]
                now += [split] * len(one)
                labels += [data.class_names[label] for label in one.labels]
                paths.append(one)
        split_of = np.array([place if match is None else match.split for match, place in zip(known, now, strict=True)])
        at = np.array([-1 if match is None else match.position for match in known])
        whole = _concatenated(paths)
        index = {split: np.flatnonzero(split_of == split) for split in splits}
        moved = bool((split_of != np.array(now)).any())
        lists = {split: _numbered(whole.take(rows), moved) for split, rows in index.items() if rows.size}
        data = _checked(data, lists, self.cache)
        used = {(match.split, match.position) for match in known if match is not None}
        removed = [one.split for listed in self.images.values() for one in listed if (one.split, one.position) not in used]
        before = set(self.cache.manifest.dataset.class_names)
        return data, Earlier(self.cache, {split: at[index[split]] for split in lists}), Changes(
            joined={split: int((at[index[split]] < 0).sum()) for split in lists},
            removed={split: removed.count(split) for split in splits},
            stayed=int((split_of != np.array(now)).sum()),
            relabelled=sum(match is not None and match.label != label for match, label in zip(known, labels, strict=True)),
            new_classes=tuple(name for name in data.class_names if name not in before),
            lost_classes=tuple(name for name in self.cache.manifest.dataset.class_names if name not in set(data.class_names)),
        )  # fmt: skip

    def _match(self, content: str, path: str, group: str | None) -> Listed | None:
        listed = self.images.get(content, ())
        if group in self.settled.groups:
            listed = [one for one in listed if one.group == group]
        return next((one for one in listed if one.path == path), listed[0] if listed else None)


def listed_groups(cache: FeatureCache, split: str) -> NDArray[np.str_] | None:
    """The group (N,) of each image of a split; None where the cache was not split by groups, or lists no images."""
    if not (cache.path / IMAGES).is_file():
        return None
    groups = _column(cache, split, GROUP)
    return None if None in groups else np.array(groups, dtype=np.str_)


def listed_paths(cache: FeatureCache, split: str) -> list[str]:
    """Paths (N,) of the images of a split, as the cache lists them; SHA-256 of those that are encoded in a table.

    Raises:
        UserError: the cache lists no images, or another number than it has features of.
    """
    return [str(path) for path in _column(cache, split, "path")]


def _column(cache: FeatureCache, split: str, name: str) -> list[str | None]:
    """Cells (N,) of a column of the list of images, for the images of a split; each is None where the list has no such column."""
    try:
        with (cache.path / IMAGES).open(encoding="utf-8", newline="") as file:
            cells = [row.get(name) for row in csv.DictReader(file) if row["split"] == split]
    except (OSError, KeyError):
        raise UserError(
            f"{cache.path}: lists no images ({IMAGES}), so their groups are not known; extract them again to another place"
        ) from None
    if len(cells) != (there := cache.manifest.arrays[f"{split}/labels"].shape[0]):
        raise UserError(
            f"{cache.path / IMAGES}: lists {len(cells):,} images of {split}, and the features are of {there:,}; extract them again to another place"
        )
    return cells


def contents_of_training(cache: FeatureCache) -> NDArray[np.int64] | None:
    """Hashes (N,) of the training files of a cache, as `core.content.file_hashes` has them; None where the cache lists no contents, or images within a table."""
    try:
        listed = CachedImages.of(cache).contents_of("train")
        return np.array([int(content, 16) for content in listed], np.uint64).view(np.int64)
    except (UserError, ValueError, OverflowError):
        return None


def _concatenated(lists: Sequence[ImageList]) -> ImageList:
    first = lists[0]
    rows, labels = (np.concatenate([getattr(one, name) for one in lists]) for name in ("rows", "labels"))
    groups = None if first.groups is None else np.concatenate([one.groups for one in lists if one.groups is not None])
    return ImageList(first.root, tuple(path for one in lists for path in one.paths), labels, rows, first.encoded, groups)


def _numbered(images: ImageList, moved: bool) -> ImageList:
    """The images with new row numbers where images of several folders were mixed; encoded images keep their rows of the table."""
    return replace(images, rows=np.arange(len(images))) if moved and images.encoded is None else images


def _checked(data: FileData, splits: dict[str, ImageList], cache: FeatureCache) -> FileData:
    """The data with these splits, refused without a training image of each class, a test image, or with a group in two splits."""
    counts = np.bincount(splits["train"].labels if "train" in splits else [], minlength=len(data.class_names))
    if 0 in counts:
        name = data.class_names[int(counts.argmin())]
        raise UserError(
            f"class {name!r} has no training image left beside those that were in val and test of cache {cache.manifest.name}; add some"
        )
    if "test" not in splits:
        raise UserError(
            f"no test image of cache {cache.manifest.name} is left, and no new one is; add images, or extract all again with `lt-bench extract`"
        )
    if overlap := groups_of_two_splits({split: images.groups for split, images in splits.items() if images.groups is not None}):
        first, second, shared = overlap
        raise UserError(
            f"{len(shared):,} groups would have images in {first} and in {second}, the first is {shared[0]!r}: earlier images stay in the split that they have in cache {cache.manifest.name}; "
            "give its images their earlier group, or extract all again with `lt-bench extract`"
        )
    source = f"as in cache {cache.manifest.name} (key {cache.key}); new images: {data.val_source}"
    return replace(data, splits=splits, train_counts=tuple(counts.tolist()), val_source=source, split_hash=identity(splits))
