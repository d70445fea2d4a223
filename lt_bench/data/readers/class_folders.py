"""Class folders: one folder of images per class, with or without train, val and test above them. Free of torch."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from lt_bench.core.errors import UserError, unreadable
from lt_bench.data.hold_out import TEST_SHARE, VAL_SHARE
from lt_bench.data.images.decode import EXTENSIONS, HEIF, NEEDS_HEIF
from lt_bench.data.images.image_list import ImageList, image_list
from lt_bench.data.membership import Groups, Settled, drawn_split, pattern_groups

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_JUNK = {"thumbs.db", "desktop.ini", "__macosx"}


def read_class_folders(
    root: Path, *, names: tuple[str, ...] | None = None, seed: int = 0, group_pattern: str | None = None, settled: Settled | None = None
) -> tuple[dict[str, ImageList], tuple[str, ...], str]:
    """Read class folders.

    Classes are numbered in the order of their sorted folder names; paths are relative to ``root``, sorted within a class. Files that are no images by their
    names are left out (``no_images``). Missing val and test splits are held out (``data.hold_out``); a val folder without a test folder is the test set. A class of
    train may be absent from val and test.

    Args:
        root: holds class folders, or train and test (and val) with class folders in each.
        names: expected class names, if known.
        seed: of the held-out splits.
        group_pattern: see ``Reading``.
        settled: see ``Reading``.

    Returns:
        The splits, the class names, and the origin of test and validation images, in words.

    Raises:
        UserError: the wrong folder level, a class without training images, an image that cannot be read here (HEIC); one line each.
    """
    tops = _split_folders(root)
    if tops:
        splits, classes = read_split_folders(root, names)
        completed, origin = _completed(splits, tops, classes, seed, group_pattern, settled)
        return completed, classes, origin
    classes = names or _classes(root)
    whole, shares = _read(root, "", classes, "train"), {"test": TEST_SHARE, "val": VAL_SHARE}
    groups = None if group_pattern is None else pattern_groups(group_pattern, whole.paths, root)
    chosen, how = drawn_split(whole, shares, seed, classes, groups, settled)
    whole = replace(whole, groups=groups and groups.of)
    return _non_empty({split: whole.take(index) for split, index in chosen.items()}), classes, f"held out: {how}"


def read_split_folders(root: Path, names: tuple[str, ...] | None = None) -> tuple[dict[str, ImageList], tuple[str, ...]]:
    """The splits that are folders of ``root``, unchanged, and the class names.

    Raises:
        UserError: no train folder with val or test beside it, or what ``read_class_folders`` refuses.
    """
    tops = _split_folders(root)
    if not tops:
        raise UserError(f"{root}: no folders train and test in it")
    classes = names or _classes(root / tops["train"])
    return {split: _read(root, folder, classes, split) for split, folder in tops.items()}, classes


def _split_folders(root: Path) -> dict[str, str]:
    """Folder of each split; empty if ``root`` holds class folders alone."""
    folders = _subfolders(root)
    tops = {SPLIT_FOLDERS[name.lower()]: name for name in folders if name.lower() in SPLIT_FOLDERS}
    if tops and not ("train" in tops and len(tops) > 1) and ("train" in tops or len(folders) == len(tops)):
        lacking = "test" if "train" in tops else "train"
        raise UserError(
            f"{root}: has {', '.join(sorted(tops.values()))} but no {lacking} folder; give train and test, or class folders alone"
        )
    return tops if "train" in tops else {}


def _completed(
    splits: dict[str, ImageList],
    tops: dict[str, str],
    classes: tuple[str, ...],
    seed: int,
    group_pattern: str | None,
    settled: Settled | None,
) -> tuple[dict[str, ImageList], str]:
    """Complete the splits: without a test folder, val becomes the test set, and missing validation images are held out of train; with their origin in words."""
    groups = None if group_pattern is None else _groups_apart(splits, group_pattern)
    is_test = "test" not in splits
    if is_test:
        splits["test"] = splits.pop("val")
    if "val" in splits:
        return _non_empty(splits), f"the folder {tops['val']}"
    whole = splits["train"]
    chosen, how = drawn_split(whole, {"val": VAL_SHARE}, seed, classes, groups, settled)
    splits |= {split: whole.take(index) for split, index in chosen.items()}
    origin = f"held out of {tops['train']}: {how}" + (f"; the folder {tops['val']} is the test set" if is_test else "")
    return _non_empty(splits), origin


def _groups_apart(splits: dict[str, ImageList], pattern: str) -> Groups:
    """Set the groups of all splits, refuse a group that two splits share, and return the groups of the training images."""
    paths = {split: [path.partition("/")[2] for path in images.paths] for split, images in splits.items()}
    groups = pattern_groups(pattern, [path for below in paths.values() for path in below], splits["train"].root)
    ends = np.cumsum([len(below) for below in paths.values()])
    rows = dict(zip(paths, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    groups.require_apart(rows)
    splits |= {split: replace(images, groups=groups.of[rows[split]]) for split, images in splits.items()}
    return groups.take(rows["train"])


def _non_empty(splits: dict[str, ImageList]) -> dict[str, ImageList]:
    if not len(splits["test"]):
        raise UserError(f"{splits['train'].root}: no class has a second image, so there is nothing to test on; add images or a test folder")
    return {split: images for split, images in splits.items() if len(images)}


def _read(root: Path, folder: str, classes: tuple[str, ...], split: str) -> ImageList:
    """All images under root/folder/<class>/."""
    base = root / folder
    folders = _class_folders(base)
    _check_classes(base, folders, classes, split)
    if nested := [name for name in classes if name in folders and _subfolders(base / name)]:
        inner = _subfolders(base / nested[0])[0]
        raise UserError(f"{base / nested[0]}: holds a folder ({inner!r}), expected images only; move its images up{_as_well(nested)}")
    paths, labels, empty = [], [], []
    for label, name in enumerate(classes):
        images = _images(base / name) if name in folders else []
        empty += [] if images else [name]
        paths += ["/".join(filter(None, (folder, name, image))) for image in images]
        labels += [label] * len(images)
    if empty and split == "train":
        raise UserError(
            f"{base / empty[0]}: class {empty[0]!r} has no image to train on; add some, or move its folders elsewhere{_as_well(empty)}"
        )
    return image_list(root, paths, np.array(labels, dtype=np.int64))


def _as_well(names: list[str]) -> str:
    """Part of a message that names further folders with the same fault."""
    return f" (so with {', '.join(map(repr, names[1:4]))}{', ...' if len(names) > 4 else ''})" if len(names) > 1 else ""


def _check_classes(base: Path, folders: list[str], classes: tuple[str, ...], split: str) -> None:
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        raise UserError(f"{base}: folder {unknown[0]!r} is not one of the {len(classes)} classes of train; rename it, or move it elsewhere")
    missing = sorted(set(classes) - set(folders))
    if missing and split == "train":
        raise UserError(f"{base}: {len(missing)} of {len(classes)} classes have no folder here, the first is {missing[0]!r}; add it")


def _classes(base: Path) -> tuple[str, ...]:
    """The class names that the folders in ``base`` define."""
    folders = _class_folders(base)
    if len(folders) == 1:
        raise UserError(f"{base}: only one class folder ({folders[0]!r}), expected two at least; the wrong level?")
    return tuple(folders)


def _class_folders(base: Path) -> list[str]:
    """Names of the class folders in ``base``, sorted; refuses the wrong level."""
    folders = _subfolders(base)
    loose = [name for name in _files(base) if Path(name).suffix.lower() in EXTENSIONS]
    if loose and not folders:
        raise UserError(
            f"{base}: images lie directly in it ({loose[0]}), expected one folder per class; give the folder above, or sort them into classes"
        )
    if loose:
        raise UserError(f"{base}: {loose[0]} lies beside the class folders; move it into its class")
    if not folders:
        raise UserError(f"{base}: no class folders in it")
    if not any(_files(base / name) for name in folders):
        deeper = next((name for name in folders if _subfolders(base / name)), None)
        if deeper is not None:
            advice = f"give {base / deeper}" if len(folders) == 1 else "give one folder per class, of images"
            raise UserError(f"{base}: folder {deeper!r} holds folders, not images: the wrong level? {advice}")
    return folders


def _images(folder: Path) -> list[str]:
    """Names of the images in a class folder, sorted."""
    names = [name for name in _files(folder) if Path(name).suffix.lower() in EXTENSIONS | HEIF]
    for name in names:
        if Path(name).suffix.lower() not in EXTENSIONS:
            raise UserError(f"{folder / name}: {NEEDS_HEIF}; install it, or convert them to JPEG or PNG")
        if (folder / name).is_symlink() and not (folder / name).exists():
            raise UserError(f"{folder / name}: a link to a file that is not there; mend the link, or move it elsewhere")
    return names


def no_images(root: Path) -> tuple[str, ...]:
    """Paths of the files in the class folders of ``root`` that are no images by their names."""
    tops = _split_folders(root).values() or [""]
    folders = [f"{top}/{name}".lstrip("/") for top in tops for name in _class_folders(root / top)]
    return tuple(
        sorted(f"{folder}/{name}" for folder in folders for name in _files(root / folder) if Path(name).suffix.lower() not in EXTENSIONS)
    )


def _subfolders(folder: Path) -> list[str]:
    return _entries(folder, directories=True)


def _files(folder: Path) -> list[str]:
    return _entries(folder, directories=False)


def _entries(folder: Path, directories: bool) -> list[str]:
    """Sorted names without hidden files and files of operating systems; links are followed."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}; name the folder of the images with --data-dir"
        )
    try:
        names = sorted(
            e.name for e in os.scandir(folder) if e.is_dir() == directories and not e.name.startswith(".") and e.name.lower() not in _JUNK
        )
    except OSError as error:
        raise unreadable(folder, error) from None
    for name in names:
        if any("\ud800" <= c <= "\udfff" for c in name):
            raise UserError(f"{folder}: the name {name.encode('utf-8', 'replace').decode()!r} is not UTF-8; rename it")
    return names
