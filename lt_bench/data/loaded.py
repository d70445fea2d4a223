"""A data set after its files were read, however its images are stored. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from lt_bench.data.profiles import Profile
from lt_bench.data.specs import DatasetSpec
from lt_bench.data.splits import Selection


@dataclass(frozen=True)
class LoadedData:
    """A data set whose splits are known.

    Attributes:
        spec: known facts of the data set.
        class_names: K names in label order.
        train_counts: (K,) training images per class.
        imbalance_factor: of the subset; None for data used as they are.
        profile: exponential or step.
        selection: which rows of a class the subset holds; None for data used as they are.
        val_source: origin of the validation images, in words; ``none`` where there are none.
        split_hash: identity of the rows of all splits.
    """

    spec: DatasetSpec
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    imbalance_factor: float | None
    profile: Profile
    selection: Selection | None
    val_source: str
    split_hash: str
