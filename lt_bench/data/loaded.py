"""A data set after its files were read, however its images are stored. Free of torch."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from lt_bench.core.names import counted
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
        split_hash: identity of the rows of train, of test and of the validation images that the data set has by itself. Those of ``val_per_class`` leave it as it is:
            what is measured on test stays comparable.
        val_hash: identity of the validation images that ``val_per_class`` chose; empty where they are those of the data set.
        no_images: paths of files that lie among the images and are none by their names; they are left out.
    """

    spec: DatasetSpec
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    imbalance_factor: float | None
    profile: Profile
    selection: Selection | None
    val_source: str
    split_hash: str
    val_hash: str = field(default="", kw_only=True)
    no_images: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks on files that are no images, and on class names: numbers that are not the labels, and names that are nearly the same."""
        said = []
        if self.no_images:
            first = ", ".join(self.no_images[:3]) + (", ..." if len(self.no_images) > 3 else "")
            said.append(
                f"left out, since they are no images by their names: {counted(len(self.no_images), 'file')} in class folders ({first})"
            )
        numbers = [(name, k) for k, name in enumerate(self.class_names) if name != str(k)]
        if numbers and all(name.isascii() and name.isdigit() for name in self.class_names):
            said.append(
                f"class ids are numbered 0..{len(self.class_names) - 1} in their order, and stay as names: id {numbers[0][0]} is class {numbers[0][1]}"
            )
        alike: dict[str, list[str]] = {}
        for name in self.class_names:
            alike.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
        same = [names for names in alike.values() if len(names) > 1]
        if same:
            said.append(
                f"classes that differ only in case or spaces: {', '.join(map(repr, same[0]))}; if they are one class, write it alike"
            )
        return tuple(said)
