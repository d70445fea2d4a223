"""Check that a cache was extracted from the images that a command names. Free of torch."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TypeVar

from lt_bench.bench.options import ImageOptions, reading
from lt_bench.bench.options.recorded import options_in
from lt_bench.data.load import load_images
from lt_bench.features.manifest import LISTED, Manifest

_OF_FILES = ("image_column", "label_column", "split_column", "image_root", "split_seed", "group_column", "group_pattern")
Options = TypeVar("Options", bound=ImageOptions)


def of_the_images(manifest: Manifest, options: ImageOptions) -> bool:
    """Whether the features are those of the images under ``--data-dir``, with or without broken images; True without ``--data-dir``.

    Small images are decoded for this, which takes seconds; files are listed, and read where a split of one's own images is made by their content.

    Raises:
        UserError: there are no such images, or they cannot be read.
    """
    if options.data_dir is None:
        return True
    split_hash = _split_hash(manifest.dataset.name, options.data_dir, _read_as(manifest, options))
    return split_hash in (manifest.dataset.split_hash, manifest.created_with.get(LISTED))


def as_recorded(manifest: Manifest, options: Options) -> Options:
    """The options, where reading options left at their defaults take the values of the cache's command."""
    recorded, usual = options_in(manifest.command, ImageOptions), ImageOptions()
    left = {name: getattr(recorded, name) for name in _OF_FILES if getattr(options, name) == getattr(usual, name)}
    return dataclasses.replace(options, **left)


def _read_as(manifest: Manifest, options: ImageOptions) -> ImageOptions:
    """The options, where an imbalance factor, selection or profile that is not given takes the cache's."""
    info = manifest.dataset
    (selection, profile), factor = info.subset, info.imbalance_factor
    drawn = {} if selection == "given" else {"selection": options.selection or selection, "profile": options.profile or profile}
    return dataclasses.replace(
        options, imbalance_factor=options.imbalance_factor if options.imbalance_factor is not None else factor, **drawn
    )


def _split_hash(dataset: str, data_dir: Path, options: ImageOptions) -> str:
    return _cached_hash(dataset, data_dir, tuple(reading(options).items()))


@functools.cache
def _cached_hash(dataset: str, data_dir: Path, choices: tuple) -> str:
    """Split hash, memoised: it is asked for before torch is imported and after."""
    return load_images(dataset, data_dir, **dict(choices)).split_hash
