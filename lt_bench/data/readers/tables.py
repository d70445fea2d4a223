"""Tables of images: CSV or parquet with a path (or, in parquet, the image itself), a label and optionally a split in every row. Free of torch."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from lt_bench.core.errors import UserError
from lt_bench.data.hold_out import TEST_SHARE, VAL_SHARE
from lt_bench.data.images.image_list import ImageList, check_labels, check_rows, image_list, require_present
from lt_bench.data.membership import Groups, Settled, column_groups, drawn_split
from lt_bench.data.readers.table_files import (
    LABEL_COLUMN,
    PATH_COLUMN,
    SPLIT_COLUMN,
    SPLIT_NAMES,
    require_column,
    require_filled,
    table_of,
    table_of_splits,
)  # fmt: skip

_WHOLE, _WHOLE_DECIMAL = r"-?(0|[1-9]\d{0,17})", r"-?(0|[1-9]\d{0,17})\.0+"


def read_table(
    path: Path,
    image_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    seed: int = 0,
    group_column: str | None = None,
    image_root: Path | None = None,
    settled: Settled | None = None,
) -> tuple[dict[str, ImageList], tuple[str, ...], str]:
    """Read a table of images.

    Images are paths relative to ``image_root`` or, in parquet, encoded images: bytes, or structs with a field ``bytes`` as the Hugging Face hub writes them.
    Labels are class names, numbered in sorted order, or whole numbers, numbered in theirs. Without a column of splits, test and val are held out; without val rows, val is.

    Args:
        path: CSV, TSV or parquet; or a folder with such a file for train, test and perhaps val.
        image_column: by default ``path``, else ``image`` or ``img``.
        label_column: by default ``label``.
        split_column: by default ``split``, where there is one.
        seed: of the held-out splits.
        group_column: of groups that stay together; none by default.
        image_root: folder that paths are relative to, by default the table's.
        settled: see ``Reading``.

    Returns:
        The splits, the class names, and the origin of validation images, in words.

    Raises:
        UserError: a column missing, an empty cell, an unknown split, a row twice, images absent; one line each.
    """
    label_column = label_column or LABEL_COLUMN
    table = table_of_splits(path, image_column, label_column) if path.is_dir() else table_of(path, image_column, label_column)
    frame = table.frame
    if path.is_dir() and split_column:
        raise UserError(f"{path}: each of its tables is a split; leave --split-column out")
    labels, names = _labels(path, pd.Series(frame[label_column]), table.names)
    if table.encoded is None:
        whole = _listed(path, frame, image_column or PATH_COLUMN, labels, image_root)
    elif image_root is None:
        whole = _embedded(path, table.encoded, labels)
    else:
        raise UserError(f"{path}: holds its images itself; leave --image-root out")
    if split_column:
        require_column(path, frame, split_column, "split")
    groups = None if group_column is None else column_groups(path, frame, group_column)
    whole = replace(whole, groups=groups and groups.of)
    index, origin = _splits(path, frame, split_column or SPLIT_COLUMN, whole, names, groups, seed, settled)
    splits = {name: whole.take(rows) for name, rows in index.items() if rows.size}
    lacking = np.setdiff1d(np.arange(len(names)), splits["train"].labels)
    if lacking.size:
        raise UserError(f"{path}: class {names[lacking[0]]!r} has no training row; add some, or leave its rows out")
    if "test" not in splits:
        raise UserError(f"{path}: no class has a second image, so there is nothing to test on; add images")
    return splits, names, origin


def _listed(path: Path, frame: pd.DataFrame, column: str, labels: np.ndarray, image_root: Path | None) -> ImageList:
    """Images of a column of paths."""
    require_filled(path, frame, column, "image")
    root = image_root or (path if path.is_dir() else path.parent)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; name the one that the paths of {path} are relative to with --image-root")
    paths = [relative(str(p), root) for p in frame[column]]
    check_rows(paths, labels, str(path), first_line=2)
    whole = image_list(root, paths, labels)
    require_present(whole, str(path), "" if image_root else "where they are relative to another folder, name it with --image-root")
    return whole


def relative(name: str, folder: Path) -> str:
    """A normalised path: relative to the table's folder if inside it, with forward slashes and without ``..`` parts."""
    name = os.path.normpath(name.replace("\\", "/"))
    if Path(name).is_absolute() and Path(name).is_relative_to(folder.absolute()):
        return Path(name).relative_to(folder.absolute()).as_posix()
    return name


def _embedded(path: Path, encoded: pa.ChunkedArray, labels: np.ndarray) -> ImageList:
    """Images encoded in the table; the SHA-256 of its bytes is the name of each, so that a split is its content."""
    first: dict[str, int] = {}
    for row, value in enumerate(encoded):
        data = value.as_py()
        if not data:
            raise UserError(f"{path}: row {row} has no image; mend it, or leave the row out (rows count from 0)")
        digest = hashlib.sha256(data).hexdigest()
        if first.setdefault(digest, row) != row:
            other = "" if labels[row] == labels[first[digest]] else f" with another label ({labels[first[digest]]} and {labels[row]})"
            raise UserError(
                f"{path}: row {row} holds the image of row {first[digest]} again{other}; every image stands once (rows count from 0)"
            )
    return ImageList(path, tuple(first), labels, np.arange(len(labels)), encoded)


def _labels(path: Path, column: pd.Series, known: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels 0..K-1 and class names. Text is names as they are written, unless it is whole numbers in their usual form everywhere."""
    if pd.api.types.is_float_dtype(column):
        if not bool((column % 1 == 0).all()):
            raise UserError(f"{path}: labels are fractions such as {column.iloc[0]}, expected class names or whole numbers from 0")
        column = column.astype(np.int64)
    texts = column.astype(str)
    for form in (_WHOLE, _WHOLE_DECIMAL):
        if texts.str.fullmatch(form).all():
            return _numbered(path, texts.str.partition(".")[0].astype(np.int64).to_numpy(), known)
    names = sorted(set(texts))
    if len(names) < 2:
        raise UserError(f"{path}: only one class ({names[0]!r}), expected two at least")
    number = {name: k for k, name in enumerate(names)}
    return np.array([number[name] for name in texts], dtype=np.int64), tuple(names)


def _numbered(path: Path, ids: np.ndarray, known: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Ids of classes, numbered 0..K-1 in their order; each keeps its known name, or its id as its name."""
    values, labels = np.unique(ids, return_inverse=True)
    if values[0] < 0:
        check_labels(ids, len(values), str(path))
    names = (
        known if known and len(known) == len(values) else tuple(known[v] if known and values[-1] < len(known) else str(v) for v in values)
    )
    return labels.astype(np.int64), tuple(names)


def _splits(
    path: Path,
    frame: pd.DataFrame,
    column: str,
    whole: ImageList,
    names: tuple[str, ...],
    groups: Groups | None,
    seed: int,
    settled: Settled | None,
) -> tuple[dict[str, np.ndarray], str]:
    if column not in frame.columns:
        chosen, how = drawn_split(whole, {"test": TEST_SHARE, "val": VAL_SHARE}, seed, names, groups, settled)
        return chosen, f"held out: {how}"
    empty = np.flatnonzero(frame[column].isna())
    if empty.size:
        raise UserError(f"{path}: line {empty[0] + 2} has no {column}, expected train, val or test")
    given = frame[column].astype(str).str.strip().str.lower()
    for line, name in enumerate(given, start=2):
        if name not in SPLIT_NAMES:
            raise UserError(f"{path}: line {line} has split {name!r}, expected train, val or test")
    split = given.map(SPLIT_NAMES).to_numpy()
    rows = {name: np.flatnonzero(split == name) for name in ("train", "val", "test")}
    for name in ("train", "test"):
        if not rows[name].size:
            raise UserError(f"{path}: no row has split {name}; leave the column out to have a split made")
    if groups is not None:
        groups.require_apart(rows)
    if rows["val"].size:
        return rows, "rows of split val"
    train = rows["train"]
    held, how = drawn_split(whole.take(train), {"val": VAL_SHARE}, seed, names, None if groups is None else groups.take(train), settled)
    return {name: train[index] for name, index in held.items()} | {"test": rows["test"]}, f"held out of the training rows: {how}"
