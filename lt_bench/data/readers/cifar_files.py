"""CIFAR from the official Python pickles, read without running code, and from class folders. Free of torch."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError, unreadable
from lt_bench.data.images.image_list import ImageList
from lt_bench.data.readers.class_folders import read_split_folders

_TRAIN10, _TEST10 = tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",)
_RECONSTRUCT: Any = np.zeros(0).__reduce__()[0]
# Names that pickled numpy arrays of Python 2 refer to; any other name in a file is refused.
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode({"latin1": "latin1"}[encoding]),
}


@dataclass(frozen=True)
class ArrayTable:
    """Images of one size in memory, or decoded on demand, with the attributes of ``parquet.ImageTable``."""

    path: Path
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None
    _pixels: Callable[[NDArray[np.integer]], NDArray[np.uint8]]

    def decode(self, rows: NDArray[np.integer] | None = None) -> NDArray[np.uint8]:
        """Rows (all by default) as RGB (n, 3, H, W)."""
        return self._pixels(np.arange(len(self.labels)) if rows is None else np.asarray(rows))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"names {module}.{name}, which a CIFAR file does not")
        return _ALLOWED[module, name]


def is_pickled(folder: Path) -> bool:
    """Whether the official batches of CIFAR-10 or CIFAR-100 lie in ``folder``."""
    return (folder / _TRAIN10[0]).is_file() or ((folder / "train").is_file() and (folder / "test").is_file())


def open_pickles(folder: Path) -> dict[str, ArrayTable]:
    """Train and test of ``cifar-10-batches-py`` or ``cifar-100-python``, in the official row order.

    Raises:
        UserError: a file is missing, damaged, or refers to anything but arrays.
    """
    ten = (folder / _TRAIN10[0]).is_file()
    files = {"train": _TRAIN10, "test": _TEST10} if ten else {"train": ("train",), "test": ("test",)}
    names = _names(folder / ("batches.meta" if ten else "meta"), b"label_names" if ten else b"fine_label_names")
    tables = {}
    for split, parts in files.items():
        batches = [_batch(folder / part, b"labels" if ten else b"fine_labels") for part in parts]
        pixels = np.concatenate([data for data, _ in batches])
        labels = np.concatenate([label for _, label in batches])
        tables[split] = ArrayTable(folder / parts[0], labels, names, lambda rows, pixels=pixels: pixels[rows])
    return tables


def open_folders(folder: Path, names: tuple[str, ...] | None) -> dict[str, ArrayTable]:
    """Train, test and perhaps val as class folders; all images must have one size.

    Raises:
        UserError: what ``class_folders`` refuses, an image that cannot be decoded or has another size.
    """
    splits, classes = read_split_folders(folder, names)
    return {
        name: ArrayTable(folder / name, images.labels, classes, lambda rows, images=images: _decoded(images, rows))
        for name, images in splits.items()
    }


def _decoded(images: ImageList, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
    first = np.asarray(images.image(int(rows[0])))
    pixels = np.empty((len(rows), *first.shape), dtype=np.uint8)
    for i, row in enumerate(rows):
        image = np.asarray(images.image(int(row)))
        if image.shape != first.shape:
            raise UserError(
                f"{images.root / images.paths[row]}: {image.shape[1]}x{image.shape[0]} pixels, expected {first.shape[1]}x{first.shape[0]} as the others"
            )
        pixels[i] = image
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _batch(path: Path, label: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batch = _load(path)
    data, labels = batch.get(b"data"), batch.get(label)
    if (
        not isinstance(data, np.ndarray)
        or data.ndim != 2
        or data.shape[1] != 3072
        or not isinstance(labels, list)
        or len(labels) != len(data)
    ):
        raise UserError(f"{path}: not a CIFAR batch of 32x32 images and labels; unpack the archive again")
    return data.astype(np.uint8).reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


def _names(path: Path, key: bytes) -> tuple[str, ...] | None:
    return tuple(name.decode() for name in _load(path)[key]) if path.is_file() else None


def _load(path: Path) -> dict[bytes, Any]:
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
    except FileNotFoundError:
        raise UserError(f"{path}: missing; unpack the archive again") from None
    except PermissionError as error:
        raise unreadable(path, error) from None
    except (pickle.UnpicklingError, EOFError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError) as error:
        raise UserError(f"{path}: not a CIFAR pickle ({error}); unpack the archive again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a CIFAR pickle; unpack the archive again")
    return content
