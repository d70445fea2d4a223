"""Groups (tracks, patients, sites) of the test images of a record, for its report."""

from __future__ import annotations

from dataclasses import replace

from numpy.typing import NDArray

from lt_bench.bench.options import ImageOptions, ReportOptions
from lt_bench.bench.options.recorded import names_groups, options_in
from lt_bench.core.errors import UserError
from lt_bench.data.specs import dataset_names, dataset_spec
from lt_bench.features.locate import caches_of
from lt_bench.features.manifest import IMAGES
from lt_bench.leaderboard.boards import BoardRows, Row

_NARROW = "each image counts by itself here, so intervals are too narrow"


def groups_of_tests(board: BoardRows, row: Row, options: ReportOptions) -> tuple[NDArray | None, str]:
    """The group (N,) of each test image of a row, by the options, else from the records, else from the cache (None where unknown), and a sentence for the report where groups exist but are unknown.

    Raises:
        UserError: the options name groups, and the row's cache is not here or does not list them.
    """
    named = options.group_column is not None or options.group_pattern is not None
    if board.test_groups is not None and not named:
        return board.test_groups, ""
    command = str(row.text("command"))
    caches = caches_of(row.board.cache_key, command)
    if not caches:
        if named:
            raise UserError(
                f"--group-column and --group-pattern are for the images that the cache {row.text('cache_name')} (key {row.board.cache_key}) lists, which is not here"
            )
        return None, _without_a_cache(row, command)
    if not named and not any((path / IMAGES).is_file() or names_groups(manifest.command) for path, manifest in caches):
        return None, ""
    from lt_bench.bench.choosing.groups import groups_of, listing_groups  # and with it torch
    from lt_bench.features.cache import FeatureCache
    from lt_bench.features.extraction.joined_images import listed_groups

    opened = [FeatureCache(*one) for one in caches]
    if named:
        recorded = options_in(opened[0].manifest.command, ImageOptions)
        given = {name: getattr(options, name) for name in ("data_dir", "group_column", "group_pattern")}
        return groups_of(opened[0], "test", replace(recorded, **given)), ""
    known = next((groups for cache in opened if (groups := listed_groups(cache, "test")) is not None), None)
    ways = None if known is not None else listing_groups(opened[0])
    return (
        known,
        "" if ways is None else f"The cache was split by groups and does not list them: {_NARROW}; to have groups as the sample, {ways}",
    )


def _without_a_cache(row: Row, command: str) -> str:
    """The sentence on a row whose cache is not here; none for benchmarks, whose images are independent, and for features that were imported."""
    name = row.board.dataset
    own_images = name != "embeddings" and name in dataset_names() and dataset_spec(name).num_classes is None
    if names_groups(command):
        return f"The images were split by groups, which no cache here lists: {_NARROW}."
    if not own_images or " --cache " not in command:
        return ""
    return "The cache is not here, so it is not known whether the test images come in groups, as frames of a track do; if they do, intervals are too narrow."
