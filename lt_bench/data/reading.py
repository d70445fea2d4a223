"""Options of reading a data set, which every reader takes. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from lt_bench.data.membership import Settled
from lt_bench.data.profiles import Profile
from lt_bench.data.specs import DatasetSpec
from lt_bench.data.splits import Selection
from lt_bench.data.unseen import PerClass


class Reading(TypedDict, total=False):
    """Options; a missing one, or None, takes its default.

    Attributes:
        imbalance_factor: IF of the training subset, for data that take one; by default the spec's.
        profile: exponential (default) or step.
        selection: which rows of a class the subset takes, for data that take a factor: the ``first`` (default) in file order, or ``seed0``, which needs the balanced
            original in its official order.
        image_column: column of encoded images in parquet files, or of paths in tables.
        label_column: column of labels.
        split_column: column of train, val and test, for tables.
        image_root: folder that the paths of a table are relative to; by default that of the table.
        split_seed: of the split that is drawn for data without one; 0 by default.
        group_column: column of groups (tracks, patients, sites) of which no split shares one with another, for tables.
        group_pattern: the same by a regular expression with one group, searched in CLASS/FILE of each image, for class folders.
        val_per_class: validation images of a class, of all that are in neither train nor test, for data that take a factor; by default those of a validation file,
            else the spec's number from outside the subset.
        settled: splits that images and groups have already, where a split is drawn of more images than before.
    """

    imbalance_factor: float | None
    profile: Profile
    selection: Selection
    image_column: str | None
    label_column: str | None
    split_column: str | None
    image_root: Path | None
    split_seed: int
    group_column: str | None
    group_pattern: str | None
    val_per_class: PerClass | None
    settled: Settled | None


DEFAULTS: Reading = {"profile": "exponential", "selection": "first", "split_seed": 0}
"""Defaults that do not depend on the data set."""


def factor_of(reading: Reading, spec: DatasetSpec) -> float:
    """The imbalance factor: the given one, else the data set's, else 1."""
    given = reading.get("imbalance_factor")
    return given if given is not None else spec.imbalance_factor or 1
