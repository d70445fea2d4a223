"""Groups (tracks, patients, sites) of the rows of a cache, read where its images are. Free of torch."""

from __future__ import annotations

import dataclasses
import shlex

import numpy as np
from numpy.typing import NDArray

from lt_bench.bench.options import ImageOptions, reading
from lt_bench.core.errors import UserError
from lt_bench.data.images.image_list import FileData
from lt_bench.data.load import load_images
from lt_bench.data.membership import column_groups, pattern_groups
from lt_bench.data.readers.table_files import LABEL_COLUMN, table_of, table_of_splits
from lt_bench.features.manifest import Manifest

OPTIONS = ("group_column", "group_pattern")


def groups_of(manifest: Manifest, split: str, rows: NDArray[np.integer], options: ImageOptions) -> NDArray[np.str_] | None:
    """The group (N,) of each row of a split, None where neither the cache nor the options know groups.

    Args:
        manifest: of the cache; its command says by what it was split.
        split: train or val.
        rows: (N,) of the split in their source.
        options: with ``--data-dir`` and the options of reading.

    Raises:
        UserError: there are groups, and the images are not named; or as of reading them.
    """
    words = shlex.split(manifest.command)
    split_by = {name: words[words.index(flag) + 1] for name in OPTIONS if (flag := f"--{name.replace('_', '-')}") in words[:-1]}
    options = dataclasses.replace(options, **{name: getattr(options, name) or value for name, value in split_by.items()})
    if options.group_column is None and options.group_pattern is None:
        return None
    if options.data_dir is None:
        flag, value = next((name, getattr(options, name)) for name in OPTIONS if getattr(options, name))
        raise UserError(
            f"cache {manifest.name}: folds keep the groups of --{flag.replace('_', '-')} {value} together; name the images with --data-dir"
        )
    if options.group_column is not None:
        read = table_of_splits if options.data_dir.is_dir() else table_of
        frame = read(options.data_dir, options.image_column, options.label_column or LABEL_COLUMN).frame
        return column_groups(options.data_dir, frame, options.group_column).of[rows]
    data = load_images(manifest.dataset.name, options.data_dir, **reading(options))
    assert isinstance(data, FileData)
    images = data.splits[split]
    names = pattern_groups(str(options.group_pattern), ["/".join(path.split("/")[-2:]) for path in images.paths], images.root).of
    of_row = dict(zip(images.rows.tolist(), names, strict=True))
    if len(gone := set(rows.tolist()) - of_row.keys()):
        raise UserError(
            f"{options.data_dir}: {len(gone):,} images of cache {manifest.name} are not there any more; name the images as they were extracted"
        )
    return np.array([of_row[row] for row in rows.tolist()])
