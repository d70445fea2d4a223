"""Images of a data set by its name and directory, in any layout. Free of torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from lt_bench.core.commands import word
from lt_bench.core.errors import UserError
from lt_bench.data.images.image_list import FileData, ImageList, check_rows, identity, require_present
from lt_bench.data.profiles import Profile, profile_counts
from lt_bench.data.readers.class_folders import no_images, read_class_folders, read_split_folders
from lt_bench.data.readers.inat import read_inat
from lt_bench.data.readers.list_files import class_counts, folder_names, read_list
from lt_bench.data.readers.small_images import ImageData, load_small_images
from lt_bench.data.readers.tiny_imagenet import read_tiny_imagenet
from lt_bench.data.reading import Reading, factor_of
from lt_bench.data.specs import DatasetSpec, dataset_spec
from lt_bench.data.splits import Rows, Selection, rows_outside, select_rows
from lt_bench.data.unseen import PerClass, first_of_each_class, per_class_limit, words

LIST_NAMES = {"imagenet_lt": "ImageNet_LT", "places_lt": "Places_LT", "inat2018": "iNaturalist18"}


def load_images(dataset: str, data_dir: str | Path, **reading: Unpack[Reading]) -> ImageData | FileData:
    """Find and check the images of a data set. Image files are listed; small images are decoded into memory.

    Args:
        dataset: name of the data set.
        data_dir: where its images are; for a table, the file.
        reading: see ``Reading``.

    Raises:
        UserError: something is missing or wrong, in one line.
    """
    spec, root = dataset_spec(dataset), Path(data_dir)
    _check_layout(spec, reading)
    if spec.layout == "small_images":
        return load_small_images(dataset, root, **reading)
    if spec.layout == "embeddings":
        raise UserError("embeddings have no images; bring features in with `lt-bench import-features`")
    if reading.get("imbalance_factor") is not None and spec.imbalance_factor is None:
        raise UserError(f"{spec.name} has its own class counts and takes no imbalance factor; leave it out")
    if spec.needs and len(missing_files(spec, data_root(spec, root))) == len(spec.needs):
        raise UserError(
            f"{root}: nothing of {spec.name} is there; `lt-bench data check {spec.name} --data-dir {word(root)}` says what it needs and where to get it"
        )
    if spec.layout in ("tiny_imagenet", "subset_folders"):
        profile, selection = reading.get("profile", "exponential"), reading.get("selection", "first")
        return _subset(spec, data_root(spec, root), factor_of(reading, spec), profile, selection, reading.get("val_per_class"))
    splits, names, source = _given(spec, root, reading)
    counts = class_counts(splits["train"].labels, len(names))
    others = no_images(root) if spec.layout == "folders" else ()
    return FileData(spec, names, counts, None, "exponential", None, source, identity(splits), splits, no_images=others)


def data_root(spec: DatasetSpec, data_dir: Path) -> Path:
    """The spec's subfolder of ``data_dir`` where there is one, else ``data_dir`` itself."""
    inner = data_dir / spec.folder
    return inner if spec.folder and inner.is_dir() else data_dir


def missing_files(spec: DatasetSpec, root: Path) -> list[str]:
    """Needed files and folders that are missing; none for small images, whose reader accepts any of several forms."""
    if spec.layout == "small_images":
        return []
    listed = spec.layout == "inat" and (root / f"{LIST_NAMES[spec.name]}_train.txt").is_file()  # lists in place of the official JSON
    return [need.path for need in spec.needs if not (root / need.path).exists() and not (listed and need.path.endswith(".json"))]


def _check_layout(spec: DatasetSpec, reading: Reading) -> None:
    if reading.get("val_per_class") is not None and spec.n_max is None:
        raise UserError(f"--val-per-class is for data of which a subset is drawn, and {spec.name} is not one of them; leave it out")
    for option, layout, what in (
        ("group_column", "table", "a table"),
        ("image_root", "table", "a table"),
        ("group_pattern", "folders", "class folders"),
    ):
        if reading.get(option) is not None and spec.layout != layout:
            raise UserError(f"--{option.replace('_', '-')} is for the images of {what}, and {spec.name} is not one; leave it out")


def _given(spec: DatasetSpec, data_dir: Path, reading: Reading) -> tuple[dict[str, ImageList], tuple[str, ...], str]:
    """Splits, class names and origin of the validation images, for data of which no subset is drawn."""
    seed = reading.get("split_seed", 0)
    if spec.layout == "folders":
        return read_class_folders(data_dir, seed=seed, group_pattern=reading.get("group_pattern"), settled=reading.get("settled"))
    if spec.layout == "table":
        from lt_bench.data.readers.tables import read_table  # pandas takes a tenth of the time in which torch and Lightning are imported

        image, label, split = reading.get("image_column"), reading.get("label_column"), reading.get("split_column")
        groups, root = reading.get("group_column"), reading.get("image_root")
        return read_table(data_dir, image, label, split, seed, groups, root, reading.get("settled"))
    root = data_root(spec, data_dir)
    splits, names = listed_splits(spec, root)
    for split, images in splits.items():
        require_present(
            images,
            f"{spec.name} {split}",
            "they come from "
            + " or ".join(need.origin for need in spec.needs if (root / need.path).is_dir() or not need.path.endswith(".txt")),
        )
    _check_disjoint(spec.name, splits)
    _check_counts(spec, splits)
    return splits, names, f"{LIST_NAMES[spec.name]}_val.txt" if "val" in splits else "none"


def listed_splits(spec: DatasetSpec, root: Path) -> tuple[dict[str, ImageList], tuple[str, ...]]:
    """The splits of a data set given by list files or iNaturalist's JSON, whether or not the images exist, and the class names.

    iNaturalist's official validation images are its test set; there are no others.
    """
    K, stem = spec.num_classes or 0, LIST_NAMES[spec.name]
    if spec.layout == "inat" and not (root / f"{stem}_train.txt").is_file():
        (train, names), (test, _) = (read_inat(root / f"{split}2018.json", root, K) for split in ("train", "val"))
        return {"train": train, "test": test}, names
    lists = ("train", "val") if spec.layout == "inat" else ("train", "val", "test")
    splits = {split: read_list(root / f"{stem}_{split}.txt", root, K) for split in lists}
    if spec.layout == "inat":
        splits["test"] = splits.pop("val")
    return splits, folder_names(splits["train"], K)


def _subset(
    spec: DatasetSpec, root: Path, factor: float, profile: Profile, selection: Selection, per_class: PerClass | None = None
) -> FileData:
    """A long-tailed subset of image files. Validation images are a val folder, else training images outside the subset; both, where their number is given."""
    if spec.layout == "tiny_imagenet":
        train, test, names = read_tiny_imagenet(root, spec.num_classes or 0)
        source, splits = train, {"test": test}
    else:
        splits, names = read_split_folders(root)
        source = splits.pop("train")
        if len(names) != spec.num_classes or "test" not in splits:
            raise UserError(f"{root}: {len(names)} class folders in train, expected {spec.num_classes}, and a test folder with the same")
    whole = spec.natural_factor is not None and factor == spec.natural_factor
    counts = class_counts(source.labels, len(names)) if whole else profile_counts(profile, spec.n_max or 0, factor, len(names))
    rows = np.arange(len(source)) if whole else select_rows(source.labels, counts, selection)
    splits["train"] = source.take(rows)
    val = splits.get("val")
    origin = "training images outside the subset" if val is None else "the folder val"
    if val is None:
        outside = source.take(rows_outside(source.labels, rows, spec.val_per_class))
        splits |= {"val": outside} if len(outside) else {}
    origin, of_split, of_val = origin if "val" in splits else "none", identity(splits), ""
    if per_class is not None:
        splits["val"], origin = _unseen(source, rows, val, per_class)
        of_val = identity({"val": splits["val"]})
    return FileData(spec, names, counts, factor, profile, selection, origin, of_split, splits, val_hash=of_val)


def _unseen(source: ImageList, used: Rows, val: ImageList | None, per_class: PerClass) -> tuple[ImageList, str]:
    """Validation images of the val folder and then from outside the subset, class after class, and their origin in words; rows of train are counted on from those of val."""
    most, outside, ahead = per_class_limit(per_class), source.take(rows_outside(source.labels, used, None)), 0 if val is None else len(val)
    free = replace(outside, rows=outside.rows + ahead)
    if val is not None:
        paths, labels, rows = (*val.paths, *free.paths), np.concatenate([val.labels, free.labels]), np.concatenate([val.rows, free.rows])
        free = ImageList(source.root, paths, labels, rows)
    return free.take(first_of_each_class(free.labels, most)), words(most, "train" if val is None else "val and train")


def _check_disjoint(name: str, splits: dict[str, ImageList]) -> None:
    paths = [path for images in splits.values() for path in images.paths]
    if len(set(paths)) < len(paths):
        check_rows(paths, [0] * len(paths), f"the lists of {name} together")


def _check_counts(spec: DatasetSpec, splits: dict[str, ImageList]) -> None:
    counts, expected = class_counts(splits["train"].labels, spec.num_classes or 0), spec.train_counts()
    if expected is not None and counts != expected:
        c = next(k for k in range(len(expected)) if counts[k] != expected[k])
        raise UserError(
            f"{spec.name}: {len(splits['train']):,} training images listed, expected {sum(expected):,}; class {c} has {counts[c]}, expected {expected[c]}"
        )
