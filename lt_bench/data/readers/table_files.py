"""Files of tables of images: one, or one (or several parts) a split. Free of torch."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.folders import listed
from lt_bench.data.readers.parquet import IMAGE_COLUMNS, class_names, encoded_images

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
TEXT, PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".pq")
PATH_COLUMN, LABEL_COLUMN, SPLIT_COLUMN = "path", "label", "split"
_PART = re.compile(rf"({'|'.join(SPLIT_NAMES)})(-\d+-of-\d+)?", re.IGNORECASE)
"""Names of the tables of a split, as ``train.csv``, and of its parts, as the Hugging Face hub writes them: ``train-00000-of-00002.parquet``."""


@dataclass(frozen=True)
class Table:
    """A table after reading: all other columns, the column of encoded images, and class names of integer labels from the metadata."""

    frame: pd.DataFrame
    encoded: pa.ChunkedArray | None = None
    names: tuple[str, ...] | None = None


def table_of(path: Path, image_column: str | None, label_column: str | None) -> Table:
    """A table that is one file; without a label column it need not have labels.

    Raises:
        UserError: no such table, not readable, or no label in a row.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such table")
    kind = path.suffix.lower()
    if kind not in (*PARQUET, *TEXT):
        raise UserError(f"{path}: not a table by its name, expected {', '.join((*TEXT, *PARQUET))}")
    try:
        table = _parquet(path, image_column, label_column or LABEL_COLUMN) if kind in PARQUET else Table(_csv(path))
    except PermissionError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save the table as UTF-8") from None
    except (ValueError, OSError, KeyError, TypeError, OverflowError) as error:  # pandas' and pyarrow's parser errors are ValueErrors
        raise UserError(f"{path}: not a readable table ({' '.join(str(error).split())})") from None
    if table.frame.empty:
        raise UserError(f"{path}: has no rows")
    if label_column is not None:
        require_filled(path, table.frame, label_column, "label")
    return table


def table_of_splits(folder: Path, image_column: str | None, label_column: str) -> Table:
    """The tables of a folder, one or several parts for train, test and perhaps val, as one with a column of splits. Parts that a folder ``data`` has, as on the hub, count too.

    Raises:
        UserError: no table of train or of test; tables that do not fit together; or what ``table_of`` refuses.
    """
    files = _files_of_splits(folder)
    tables: list[Table] = []
    for split, paths in files.items():
        for path in paths:
            one = table_of(path, image_column, label_column)
            if one.encoded is None:
                require_filled(path, one.frame, image_column or PATH_COLUMN, "image")
            first = tables[0] if tables else one
            if (one.encoded is None) != (first.encoded is None):
                raise UserError(
                    f"{path}: holds {'paths' if one.encoded is None else 'images'}, unlike {files['train'][0].name}; write all tables alike"
                )
            if one.names != first.names:
                raise UserError(
                    f"{path}: its metadata names other classes than that of {files['train'][0].name}; write all tables with the same class names"
                )
            tables.append(Table(one.frame.assign(**{SPLIT_COLUMN: split}), one.encoded, one.names))
    encoded = None if tables[0].encoded is None else pa.chunked_array([chunk for one in tables for chunk in _chunks(one)])
    return Table(pd.concat([one.frame for one in tables], ignore_index=True), encoded, tables[0].names)


def _chunks(table: Table) -> Sequence[pa.Array]:
    return [] if table.encoded is None else [chunk.cast(pa.large_binary()) for chunk in table.encoded.chunks]


def _files_of_splits(folder: Path) -> dict[str, list[Path]]:
    """The tables of each split, in the order of their names, train first.

    Raises:
        UserError: a split has none that it needs, or two tables that are not parts of one.
    """
    places = [folder, folder / "data"]
    place = next((one for one in places if one.is_dir() and any(_split_of(path) for path in listed(one))), folder)
    files: dict[str, list[Path]] = defaultdict(list)
    for path in listed(place):
        if split := _split_of(path):
            files[split].append(path)
    for split, paths in files.items():
        whole = [path for path in paths if path.stem.lower() in SPLIT_NAMES]
        if whole and len(paths) > 1:
            raise UserError(f"{folder}: {paths[0].name} and {paths[1].name} are both of split {split}; leave one of them there")
    lacking = [split for split in ("train", "test") if split not in files]
    if lacking:
        there = ", ".join(path.name for paths in files.values() for path in paths) or "no train, val or test table"
        tables = [path for path in listed(folder) if path.suffix.lower() in (*TEXT, *PARQUET)]
        one = f"; or give one table, of which a split is made: {tables[0]}" if len(tables) else ""
        raise UserError(
            f"{folder}: has {there}, and needs {' and '.join(lacking)} as a table: {lacking[0]}.parquet or {lacking[0]}.csv{one}"
        )
    return {split: files[split] for split in ("train", "val", "test") if split in files}


def _split_of(path: Path) -> str:
    """The split that the name of a table's file says; empty for any other file."""
    match = _PART.fullmatch(path.stem) if path.suffix.lower() in (*TEXT, *PARQUET) and path.is_file() else None
    return "" if match is None else SPLIT_NAMES[match[1].lower()]


def require_column(path: Path, frame: pd.DataFrame, name: str, option: str = "") -> None:
    """Refuse a table without a column.

    Raises:
        UserError: names the columns of the table, and the option that names the column, where there is one.
    """
    if name not in frame.columns:
        advice = f"; name it with --{option}-column" if option else ""
        raise UserError(f"{path}: no column {name}, it has {', '.join(map(str, frame.columns))}{advice}")


def require_filled(path: Path, frame: pd.DataFrame, name: str, option: str = "") -> None:
    """Refuse a table without a column, or with an empty cell in it.

    Raises:
        UserError: names the line of the first empty cell, or as ``require_column``.
    """
    require_column(path, frame, name, option)
    empty = np.flatnonzero(frame[name].isna())
    if empty.size:
        raise UserError(f"{path}: line {empty[0] + 2} has no {name}")


def _csv(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    separator = max(",\t;", key=header.count)  # spreadsheets write semicolons where the comma is the decimal point
    return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8-sig", sep=separator)


def _parquet(path: Path, image_column: str | None, label_column: str) -> Table:
    schema = pq.read_schema(path)
    usual = () if PATH_COLUMN in schema.names else IMAGE_COLUMNS
    image = next((name for name in ((image_column,) if image_column else usual) if name in schema.names), None)
    if image is None or _is_text(schema.field(image).type):
        return Table(pd.read_parquet(path), names=class_names(schema, label_column))
    others = pd.read_parquet(path, columns=[name for name in schema.names if name != image])
    encoded = encoded_images(path, image, pq.read_table(path, columns=[image]).column(image))
    return Table(others, encoded, class_names(schema, label_column))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or (pa.types.is_dictionary(kind) and _is_text(kind.value_type))
