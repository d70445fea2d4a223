"""Class numbers of a person's own arrays as 0..K-1, and the names of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Numbering:
    """Ids that become classes.

    Attributes:
        ids: (K,) int64, ascending; class k is id ``ids[k]``.
        without_rows: rows that are left out, by split, since their class has no training row.
    """

    ids: NDArray[np.int64]
    without_rows: dict[str, int]

    def of_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """K names: those given where there are K, else the ones that stand at the ids.

        Raises:
            UserError: there are neither K names nor a name for each id.
        """
        if len(names) == len(self.ids):
            return tuple(names)
        if len(names) <= int(self.ids[-1]):
            raise UserError(
                f"{len(names):,} class names are given, expected {len(self.ids):,}, one for each class that has rows, or one for each id 0..{self.ids[-1]}"
            )
        return tuple(str(names[i]) for i in self.ids)

    def of_head(self, head: Mapping[str, np.ndarray]) -> Arrays:
        """The rows of a head (weight, bias) that are of the classes; a head of K rows is as it is."""
        if len(head["weight"]) == len(self.ids) or len(head["weight"]) <= int(self.ids[-1]):
            return dict(head)
        return {name: part[self.ids] for name, part in head.items()}


def renumbered(splits: Mapping[str, Arrays], drop_empty: bool) -> tuple[dict[str, Arrays], Numbering]:
    """The splits with labels 0..K-1 in the order of their ids.

    Args:
        splits: arrays of train, test and perhaps val, checked.
        drop_empty: number only classes that have training rows, and leave out rows of others; else all that have rows anywhere.

    Raises:
        UserError: no row of a split is left.
    """
    held = [splits["train"]] if drop_empty else splits.values()
    ids = np.unique(np.concatenate([arrays["labels"] for arrays in held])).astype(np.int64)
    out, left_out = {}, {}
    for split, arrays in splits.items():
        known = np.isin(arrays["labels"], ids)
        if not known.any():
            raise UserError(f"{split}: no row is of a class that has training rows; are these labels of the same classes?")
        if not known.all():
            left_out[split] = int((~known).sum())
            arrays = {name: array[..., known, :] if name == "features" else array[known] for name, array in arrays.items()}
        out[split] = {**arrays, "labels": np.searchsorted(ids, arrays["labels"])}
    return out, Numbering(ids, left_out)


def require_names(names: Sequence[str], K: int, source: str = "class names", lines: Sequence[int] | None = None) -> tuple[str, ...]:
    """K names that differ and are not blank.

    Args:
        names: in label order.
        K: how many classes there are.
        source: of the names, for messages.
        lines: the line of each in its file, where they are from one.

    Raises:
        UserError: another number of names, a blank one or one twice; says at which lines.
    """
    place = [f"line {line}" for line in lines] if lines is not None else [f"name {k}" for k in range(len(names))]
    blank = [where for where, name in zip(place, names, strict=True) if not name.strip()]
    if blank:
        raise UserError(f"{source}: {', '.join(blank[:5])} {'is' if len(blank) == 1 else 'are'} blank; every class needs a name")
    if len(names) != K:
        header = f"; the first, {names[0]!r}, looks like a header: remove it" if len(names) == K + 1 and _is_header(names[0]) else ""
        raise UserError(
            f"{source}: {len(names):,} names, and the labels (or the head) are of {K:,} classes; one name a class, in label order{header}"
        )
    first: dict[str, str] = {}
    for where, name in zip(place, names, strict=True):
        if name in first:
            raise UserError(f"{source}: {where} repeats {first[name]}: {name!r}; every class needs a name of its own")
        first[name] = where
    return tuple(names)


def _is_header(name: str) -> bool:
    return name.strip().lower().replace("_", " ").replace("-", " ") in {
        "class", "classes", "class name", "class names", "label", "labels", "name", "names", "category", "categories", "species",
    }  # fmt: skip
