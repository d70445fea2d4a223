"""Tiny-ImageNet as unpacked from its archive: train/<wnid>/images, val/images with val_annotations.txt. Free of torch."""

from __future__ import annotations

import os
from pathlib import Path

from lt_bench.core.errors import UserError, unreadable
from lt_bench.data.images.image_list import ImageList, image_list


def read_tiny_imagenet(root: Path, num_classes: int = 200) -> tuple[ImageList, ImageList, tuple[str, ...]]:
    """The whole training set, the test set (the official val folder), and the class names from ``words.txt``.

    Classes are numbered in alphabetical order of wnid, as an image folder of torchvision does, not in the order of ``wnids.txt``. A val folder that was
    re-arranged into one folder per wnid is read too.

    Raises:
        UserError: a folder or file is missing, the number of classes is another, an annotation names an unknown class or an absent image.
    """
    wnids = [name for name in _listing(root / "train") if (root / "train" / name).is_dir()]
    if len(wnids) != num_classes:
        raise UserError(f"{root / 'train'}: {len(wnids)} class folders, expected {num_classes}")
    train = _by_folder(root, "train", wnids)
    annotations = root / "val" / "val_annotations.txt"
    test = (
        _annotated(root, annotations, wnids)
        if annotations.is_file() and (root / "val" / "images").is_dir()
        else _by_folder(root, "val", wnids)
    )
    return train, test, _words(root / "words.txt", wnids)


def _by_folder(root: Path, split: str, wnids: list[str]) -> ImageList:
    paths, labels = [], []
    for label, wnid in enumerate(wnids):
        folder = f"{split}/{wnid}/images" if (root / split / wnid / "images").is_dir() else f"{split}/{wnid}"
        images = [name for name in _listing(root / folder) if name.lower().endswith((".jpeg", ".jpg", ".png"))]
        if not images:
            raise UserError(f"{root / folder}: class {wnid} has no image; unpack tiny-imagenet-200.zip again")
        paths += [f"{folder}/{name}" for name in images]
        labels += [label] * len(images)
    return image_list(root, paths, labels)


def _annotated(root: Path, path: Path, wnids: list[str]) -> ImageList:
    number = {wnid: label for label, wnid in enumerate(wnids)}
    paths, labels = [], []
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, wnid = [*text.split("\t"), "", ""][:2]
        if wnid not in number:
            raise UserError(f"{path}: line {line} names class {wnid!r}, which train/ does not have")
        paths.append(f"val/images/{name}")
        labels.append(number[wnid])
    return image_list(root, paths, labels)


def _words(path: Path, wnids: list[str]) -> tuple[str, ...]:
    """Readable names; the wnid of a class without one, and name and wnid of classes with the same name."""
    words = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            wnid, _, name = line.partition("\t")
            words[wnid] = name.split(",")[0].strip()
    names = [words.get(wnid) or wnid for wnid in wnids]
    return tuple(name if names.count(name) == 1 else f"{name} ({wnid})" for name, wnid in zip(names, wnids, strict=True))


def _listing(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208 - names are wanted
    except PermissionError as error:
        raise unreadable(folder, error) from None
    except OSError as error:
        raise UserError(f"{folder}: {(error.strerror or str(error)).lower()}; unpack tiny-imagenet-200.zip there") from None
