"""Remarks on unsuitable splits: classes without validation images, and sizes far from the shares asked for. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.names import counted
from lt_bench.data.hold_out import HELD_OUT, shares_in

FAR, CHANCE = 0.5, 3.0
"""The size of a split is far off by more than FAR times the share asked for, if that exceeds CHANCE standard errors of images drawn one by one."""
NAMED = 3


def lacking_validation(counts: NDArray[np.integer], train_counts: Sequence[int], class_names: Sequence[str]) -> str:
    """A line on classes that have training and no validation images; empty where there are none.

    Args:
        counts: (K,) validation images.
        train_counts: (K,).
        class_names: K names.
    """
    trained = np.asarray(train_counts) > 0
    lacking = np.flatnonzero(trained & (np.asarray(counts) == 0))
    if not lacking.size:
        return ""
    names = ", ".join(repr(class_names[k]) for k in lacking[:NAMED]) + (f" and {lacking.size - NAMED} more" if lacking.size > NAMED else "")
    return (
        f"validation has images of {trained.sum() - lacking.size} of {counted(int(trained.sum()), 'class', 'classes')}, none of {names}: "
        "what is chosen on validation takes no account of these"
    )


def far_shares(sizes: Mapping[str, int], val_source: str, groups: int | None) -> str:
    """A line on drawn splits whose size is far from the share asked for; empty where there are none.

    Args:
        sizes: images of each split.
        val_source: how the split was made, in words.
        groups: number of groups that stayed together; None where images were drawn one by one.
    """
    shares = shares_in(val_source)
    whole = sum(sizes.get(split, 0) for split in ("train", *shares))
    told = []
    for split, meant in shares.items():
        share, chance = sizes.get(split, 0) / whole, CHANCE * (meant * (1 - meant) / whole) ** 0.5
        if abs(share - meant) > max(FAR * meant, chance):
            told.append(f"{sizes.get(split, 0):,} of {whole:,} images are in {split} ({share:.0%}) where about {meant:.0%} were meant")
    why = "every class gives its first images to test and validation" if groups is None else f"the {counted(groups, 'group')} stay whole"
    return f"{'; '.join(told)}: {why}" if told else ""


def split_remarks(
    labels: Mapping[str, NDArray[np.integer]], train_counts: Sequence[int], class_names: Sequence[str], val_source: str,
    groups: int | None, own: str,
) -> tuple[str, ...]:  # fmt: skip
    """The remarks of `lacking_validation` and `far_shares` that apply; the last ends with advice.

    Args:
        labels: (N,) labels of each split.
        train_counts: (K,).
        class_names: K names.
        val_source: how validation came about, in words.
        groups: as in ``far_shares``.
        own: how a person gives a split of their own, in words.
    """
    counts = np.bincount(labels["val"], minlength=len(class_names)) if "val" in labels else None
    said = [
        "" if counts is None else lacking_validation(counts, train_counts, class_names),
        far_shares({split: len(of) for split, of in labels.items()}, val_source, groups),
    ]
    more = "more images" if groups is None else "more and smaller groups"
    ways = f"{more}, another --split-seed, or {own}" if val_source.startswith(HELD_OUT) else "add images of them to validation"
    *before, last = [line for line in said if line] or [""]
    return (*before, f"{last}; to mend it: {ways}") if last else ()
