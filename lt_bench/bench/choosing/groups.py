"""Groups (tracks, patients, sites) of the rows of a cache: of the paths that it lists, or of its table."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lt_bench.bench.options import ImageOptions
from lt_bench.bench.options.recorded import names_groups, options_in
from lt_bench.core.commands import word
from lt_bench.core.errors import UserError
from lt_bench.data.membership import column_groups, pattern_groups
from lt_bench.data.readers.table_files import LABEL_COLUMN, PATH_COLUMN, Table, require_column, table_of, table_of_splits
from lt_bench.data.readers.tables import relative
from lt_bench.features.cache import FeatureCache
from lt_bench.features.extraction.joined_images import listed_paths


def groups_of(cache: FeatureCache, split: str, options: ImageOptions) -> NDArray[np.str_] | None:
    """The group (N,) of each row of a split, by a pattern or by a column of the table that ``--data-dir`` names; None where the options name neither.

    Args:
        cache: with the list of its images.
        split: train, val or test.
        options: of reading.

    Raises:
        UserError: a column and no table, an image that the table does not have, or no list of images.
    """
    if options.group_column is None and options.group_pattern is None:
        return None
    paths = listed_paths(cache, split)
    if options.group_column is None:
        return pattern_groups(str(options.group_pattern), ["/".join(path.split("/")[-2:]) for path in paths], cache.path).of
    if options.data_dir is None:
        raise UserError(
            f"--group-column {options.group_column}: name the table that has the column with --data-dir; without it, groups are those that cache {cache.manifest.name} was split by"
        )
    read = table_of_splits if options.data_dir.is_dir() else table_of
    table = read(options.data_dir, options.image_column, options.label_column or LABEL_COLUMN)
    groups = column_groups(options.data_dir, table.frame, options.group_column).of
    of_image = dict(zip(_images_of(options.data_dir, table, options), groups.tolist(), strict=True))
    if gone := [path for path in paths if path not in of_image]:
        raise UserError(
            f"{options.data_dir}: has no row of {gone[0]}, an image of cache {cache.manifest.name}; name the table that it was extracted from"
        )
    return np.array([of_image[path] for path in paths], dtype=np.str_)


def listing_groups(cache: FeatureCache) -> str | None:
    """The ways to have the groups that a cache was split by and does not list, in words; None where it was not split by groups."""
    command = cache.manifest.command
    if not names_groups(command):
        return None
    recorded = options_in(command, ImageOptions)
    pattern, column = recorded.group_pattern, recorded.group_column
    named = ["--group-pattern", pattern] if column is None else ["--group-column", column, "--data-dir", "TABLE"]
    again = f"{command.split(' && ')[0]} --name {word(f'{cache.manifest.name}-groups')}"
    return f"say `{shlex.join(map(str, named))}`" + (f", or extract again: {again}" if command.startswith("lt-bench extract") else "")


def _images_of(path: Path, table: Table, options: ImageOptions) -> list[str]:
    """The images of a table as caches list them."""
    if table.encoded is not None:
        return [hashlib.sha256(value.as_py()).hexdigest() for value in table.encoded]
    column = options.image_column or PATH_COLUMN
    require_column(path, table.frame, column, "image")
    root = options.image_root or (path if path.is_dir() else path.parent)
    return [relative(str(name), root) for name in table.frame[column]]
