"""Images that splits of a cache share, as a record keeps them (`cache.shared`), and their words. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SPLITS = {"train": "training", "val": "validation", "test": "test"}
KINDS = {
    "in": "are also {} images",
    "near": "are all but equal to one of {}, as one image in two files or sizes",
    "like": "have a near-identical one in {}",
}
"""Kinds of sharing: of the same content, of nearly the same features, of nearly the same pixels."""
_BETWEEN = ("test {} train", "test {} val", "val {} train")
_SO = {
    "test {} train": "accuracies are in part those of remembering, and too high",
    "test {} val": "what validation chose was chosen on test images",
    "val {} train": "validation chooses in part by remembering",
}


def shared_words(shared: Mapping[str, Sequence[int]]) -> str:
    """One line on images that splits share and what follows; empty where they share none.

    Args:
        shared: by split, kind and other split (`test in train`): how many images of the first, and of how many.
    """
    facts, so = [], []
    for between in _BETWEEN:
        of_pair = [(kind, shared[name]) for kind in KINDS if (name := between.format(kind)) in shared]
        one, _, other = between.split()
        facts += [
            f"{count:,} of {size:,} {SPLITS[one]} images ({100 * count / size:.1f} %) {KINDS[kind].format(SPLITS[other])}"
            for kind, (count, size) in of_pair
        ]
        so += [_SO[between]] if of_pair else []
    return f"Splits are not independent: {'; '.join(facts)}. So {'; '.join(so)}." if facts else ""
