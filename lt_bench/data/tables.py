"""Tables of images: CSV or parquet with a path, a label and perhaps a split in every row. Free of torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lt_bench.data.hold_out import TEST_SHARE, VAL_SHARE, hold_out, words
from lt_bench.data.image_list import ImageList, check_labels, check_rows, image_list, require_present
from lt_bench.errors import UserError

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
PATH_COLUMN, LABEL_COLUMN, SPLIT_COLUMN = "path", "label", "split"


def read_table(
    path: Path, path_column: str | None = None, label_column: str | None = None, seed: int = 0
) -> tuple[dict[str, ImageList], tuple[str, ...], str]:
    """Read a table of images; paths are relative to its folder.

    Labels are class names, numbered in sorted order, or whole numbers 0..K-1. Without a column ``split``, test and val are held out; without val rows, val is.

    Returns:
        The splits, the class names, and where validation images come from, in words.

    Raises:
        UserError: a column missing, an empty cell, an unknown split, a row twice, labels that leave gaps, images absent; one line each.
    """
    frame = _frame(path)
    columns = [
        _column(path, frame, name, option)
        for name, option in ((path_column or PATH_COLUMN, "image"), (label_column or LABEL_COLUMN, "label"))
    ]
    for column in columns:
        empty = np.flatnonzero(frame[column].isna())
        if empty.size:
            raise UserError(f"{path}: line {empty[0] + 2} has no {column}")
    paths = [str(p).replace("\\", "/") for p in frame[columns[0]]]
    labels, names = _labels(path, pd.Series(frame[columns[1]]))
    check_rows(paths, labels, str(path), first_line=2)
    whole = image_list(path.parent, paths, labels)
    require_present(whole, str(path))
    index, origin = _splits(path, frame, labels, seed)
    splits = {name: whole.take(rows) for name, rows in index.items() if rows.size}
    lacking = np.setdiff1d(np.arange(len(names)), splits["train"].labels)
    if lacking.size:
        raise UserError(f"{path}: class {names[lacking[0]]!r} has no training row; add some or remove its rows")
    if "test" not in splits:
        raise UserError(f"{path}: no class has a second image, so there is nothing to test on; add images")
    return splits, names, origin


def _frame(path: Path) -> pd.DataFrame:
    if not path.is_file():
        tables = sorted(p.name for p in path.glob("*") if p.suffix in (".csv", ".parquet")) if path.is_dir() else []
        hint = f"; give the table itself, e.g. {path / tables[0]}" if tables else ""
        raise UserError(f"{path}: {'a folder, not a table' if path.is_dir() else 'no such table'}{hint}")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(
                path, keep_default_na=False, na_values=[""], encoding="utf-8-sig", sep="\t" if path.suffix == ".tsv" else ","
            )
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parser errors are ValueErrors
        raise UserError(f"{path}: not a readable table ({' '.join(str(error).split())})") from None
    if frame.empty:
        raise UserError(f"{path}: has no rows")
    return frame


def _column(path: Path, frame: pd.DataFrame, name: str, option: str) -> str:
    if name not in frame.columns:
        raise UserError(f"{path}: no column {name}, it has {', '.join(map(str, frame.columns))}; name it with --{option}-column")
    return name


def _labels(path: Path, column: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    if pd.api.types.is_integer_dtype(column):
        labels = column.to_numpy(dtype=np.int64)
        K = np.unique(labels).size
        check_labels(labels, K, str(path))
        return labels, tuple(str(k) for k in range(K))
    names = sorted(set(column.astype(str)))
    if len(names) < 2:
        raise UserError(f"{path}: only one class ({names[0]!r}), expected two at least")
    number = {name: k for k, name in enumerate(names)}
    return np.array([number[name] for name in column.astype(str)], dtype=np.int64), tuple(names)


def _splits(path: Path, frame: pd.DataFrame, labels: np.ndarray, seed: int) -> tuple[dict[str, np.ndarray], str]:
    if SPLIT_COLUMN not in frame.columns:
        shares = {"test": TEST_SHARE, "val": VAL_SHARE}
        return hold_out(labels, shares, seed), f"held out: {words(shares, seed)}"
    given = frame[SPLIT_COLUMN].astype(str).str.strip().str.lower()
    for line, name in enumerate(given, start=2):
        if name not in SPLIT_NAMES:
            raise UserError(f"{path}: line {line} has split {name!r}, expected train, val or test")
    split = given.map(SPLIT_NAMES).to_numpy()
    rows = {name: np.flatnonzero(split == name) for name in ("train", "val", "test")}
    for name in ("train", "test"):
        if not rows[name].size:
            raise UserError(f"{path}: no row has split {name}; leave the column out to have a split made")
    if rows["val"].size:
        return rows, "rows of split val"
    held = hold_out(labels[rows["train"]], {"val": VAL_SHARE}, seed)
    return {name: rows["train"][index] for name, index in held.items()} | {"test": rows["test"]}, (
        f"held out of the training rows: {words({'val': VAL_SHARE}, seed)}"
    )
