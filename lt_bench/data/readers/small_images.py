"""Data sets of small images that fit in memory (CIFAR): the long-tailed training subset, validation and test, decoded. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError
from lt_bench.data.loaded import LoadedData
from lt_bench.data.profiles import profile_counts
from lt_bench.data.readers.cifar_files import ArrayTable, is_pickled, open_folders, open_pickles
from lt_bench.data.readers.parquet import ImageTable, open_table
from lt_bench.data.reading import Reading, factor_of
from lt_bench.data.specs import DatasetSpec, dataset_spec
from lt_bench.data.splits import Rows, image_rows, rows_outside, select_rows, split_hash
from lt_bench.data.unseen import PerClass, first_of_each_class, not_among, per_class_limit, words

# The official training files begin with these labels; seed0 is defined on that row order.
_OFFICIAL_BEGINNING = {"cifar10_lt": (6, 9, 9, 4, 1, 1, 2, 7, 8, 3), "cifar100_lt": (19, 29, 0, 11, 1, 86, 90, 28, 23, 31)}


@dataclass(frozen=True)
class ImageSplit:
    """Decoded images of one split: images (N, 3, H, W) uint8 RGB, labels (N,), and the row (N,) of each in its source."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    rows: Rows

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageData(LoadedData):
    """A data set of decoded images: ``splits`` holds train, test and, if there is any, val.

    No row of val or test is in train, so a backbone trained on train has not seen them.
    """

    splits: dict[str, ImageSplit]


def load_small_images(dataset: str, data_dir: str | Path, **reading: Unpack[Reading]) -> ImageData:
    """Load a data set of small images.

    Looked for in the spec's subfolder of ``data_dir`` (``cifar100``) and then in ``data_dir`` itself: ``train.parquet``, ``test.parquet`` and, where present,
    ``val.parquet``; the official python pickles; class folders in train, test and perhaps val. Only the rows of the subset are decoded.
    n_max is the size of the largest class of train. Without a val source the validation images are training images outside the subset.

    Args:
        dataset: name of a data set of small images.
        data_dir: where the files are.
        reading: see ``Reading``.

    Raises:
        UserError: a file is missing or garbled, labels are not 0..K-1, or the subset cannot be drawn from this source.
    """
    spec = dataset_spec(dataset)
    if spec.layout != "small_images" or spec.num_classes is None:
        raise UserError(f"{spec.name} is not a set of small images; {spec.obtain}")
    profile, selection = reading.get("profile", "exponential"), reading.get("selection", "first")
    tables: dict[str, ImageTable | ArrayTable] = {**_tables(spec, Path(data_dir), reading.get("image_column"), reading.get("label_column"))}
    for table in tables.values():
        _check_labels(table, spec.num_classes)
    train = tables["train"]
    factor = factor_of(reading, spec)
    counts = profile_counts(profile, int(np.bincount(train.labels).max()), factor, spec.num_classes)
    if selection == "seed0":
        _check_official_order(spec.name, train)
    rows = {"train": select_rows(train.labels, counts, selection), "test": np.arange(len(tables["test"].labels))}
    if "val" in tables:
        rows["val"], source = np.arange(len(tables["val"].labels)), tables["val"].path.name
    else:
        rows["val"], source = rows_outside(train.labels, rows["train"], spec.val_per_class), f"rows of {train.path.name} outside the subset"
        tables["val"] = train
    splits = {s: ImageSplit(tables[s].decode(r), tables[s].labels[r], r) for s, r in rows.items() if r.size}
    hash_of_split, hash_of_val = _identity(splits), ""
    if (per_class := reading.get("val_per_class")) is not None:
        splits["val"], source = _unseen(tables, splits, per_class)
        hash_of_val = _identity({"val": splits["val"]})
    return ImageData(
        spec=spec,
        splits=splits,
        class_names=train.class_names or spec.class_names() or tuple(str(c) for c in range(spec.num_classes)),
        train_counts=counts,
        imbalance_factor=factor,
        profile=profile,
        selection=selection,
        val_source=source if "val" in splits else "none",
        split_hash=hash_of_split,
        val_hash=hash_of_val,
    )


def _identity(splits: dict[str, ImageSplit]) -> str:
    return split_hash({name: image_rows(split.images, split.labels) for name, split in splits.items()})


def _unseen(tables: dict[str, ImageTable | ArrayTable], splits: dict[str, ImageSplit], per_class: PerClass) -> tuple[ImageSplit, str]:
    """Validation images from the validation file and then from outside the subset, class after class, and their origin in words; no pixels of train or test, none twice.

    Their rows are those of the validation file; those of the training file are counted on from its last.
    """
    most, train, val = per_class_limit(per_class), tables["train"], tables["val"]
    outside = rows_outside(train.labels, splits["train"].rows, None)
    parts = [(train, outside, 0)] if val is train else [(val, np.arange(len(val.labels)), 0), (train, outside, len(val.labels))]
    parts = [(table, rows, first) for table, rows, first in parts if rows.size]
    labels = np.concatenate([np.zeros(0, np.int64), *(table.labels[rows] for table, rows, _ in parts)])
    order = first_of_each_class(labels, None)
    images = np.concatenate([table.decode(rows) for table, rows, _ in parts])[order]
    fresh = not_among(images, splits["train"].images, splits["test"].images)
    chosen = fresh[first_of_each_class(labels[order][fresh], most)]
    rows = np.concatenate([rows + first for _, rows, first in parts])[order]
    sources = " and ".join(table.path.name for table, _, _ in parts)
    return ImageSplit(images[chosen], labels[order][chosen], rows[chosen]), words(most, sources, len(order) - len(fresh))


def _tables(
    spec: DatasetSpec, data_dir: Path, image_column: str | None, label_column: str | None
) -> dict[str, ImageTable] | dict[str, ArrayTable]:
    for folder in (data_dir / spec.folder, data_dir):
        if all((folder / f"{split}.parquet").is_file() for split in ("train", "test")):
            return {
                s: open_table(folder / f"{s}.parquet", image_column, label_column)
                for s in ("train", "val", "test")
                if (folder / f"{s}.parquet").is_file()
            }
        pickles = next((p for p in (folder / spec.needs[-1].path, folder) if is_pickled(p)), None)
        if pickles is not None:
            return open_pickles(pickles)
        if (folder / "train").is_dir():
            return open_folders(folder, spec.class_names())
    raise UserError(f"{data_dir}: no train.parquet and test.parquet there or in {spec.folder}/ for {spec.name}; {spec.obtain}")


def _check_labels(table: ImageTable | ArrayTable, K: int) -> None:
    low, high = int(table.labels.min()), int(table.labels.max())
    if high >= K:
        raise UserError(f"{table.path}: labels {low}..{high}, expected 0..{K - 1}" + (" (labels from 1?)" if (low, high) == (1, K) else ""))


def _check_official_order(name: str, table: ImageTable | ArrayTable) -> None:
    beginning = _OFFICIAL_BEGINNING[name]
    if np.bincount(table.labels).min() == np.bincount(table.labels).max() and tuple(table.labels[: len(beginning)].tolist()) != beginning:
        raise UserError(f"{table.path}: not in the official row order, which seed0 is defined on; use --selection first")
