"""List files of ``path label`` lines, the format of ImageNet-LT and Places-LT. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lt_bench.core.errors import UserError, unreadable
from lt_bench.data.images.image_list import ImageList, check_labels, check_rows, image_list

_LABEL = re.compile(r"0|-?[1-9][0-9]{0,17}")


def read_list(path: Path, root: Path, num_classes: int) -> ImageList:
    """The images of a list file: a path relative to ``root``, white space, a label 0..K-1; the path may contain spaces.

    Raises:
        UserError: no such file, a line without a label, a label such as ``01`` that may be another one, labels outside 0..K-1, an image twice; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such list file") from None
    except PermissionError as error:
        raise unreadable(path, error) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None
    paths, labels = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ") if "\t" not in line else line.strip().rpartition("\t")
        if not name or not _LABEL.fullmatch(label):
            why = "is not `path label`" if not label.isdecimal() else f"has the label {label}, expected 0, 1, 2, ..."
            raise UserError(f"{path}: line {number} {why}: {line.strip()[:80]}")
        paths.append(name.strip())
        labels.append(int(label))
    images = image_list(root, paths, labels)
    check_labels(images.labels, num_classes, str(path))
    check_rows(images.paths, images.labels, str(path))
    return images


def folder_names(images: ImageList, num_classes: int) -> tuple[str, ...]:
    """Class names from the folder of the first image of each class, without the common prefix and without Places' letter folders.

    Classes with the same name, or without an image, are named by their number.
    """
    folders: list[Sequence[str]] = [()] * num_classes
    for path, label in zip(reversed(images.paths), reversed(images.labels.tolist()), strict=True):
        folders[label] = path.split("/")[:-1]
    shared = 0
    while all(len(folder) > shared + 1 for folder in folders) and len({folder[shared] for folder in folders}) == 1:
        shared += 1
    names = [[part for part in folder[shared:] if len(part) > 1] or folder[shared:] for folder in folders]
    joined = ["/".join(parts) for parts in names]
    return (
        tuple(name if name and joined.count(name) == 1 else str(k) for k, name in enumerate(joined))
        if len(set(joined)) < num_classes
        else tuple(joined)
    )


def class_counts(labels: np.ndarray, num_classes: int) -> tuple[int, ...]:
    """(K,) images per class."""
    return tuple(np.bincount(labels, minlength=num_classes).tolist())
