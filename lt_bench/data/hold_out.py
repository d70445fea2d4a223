"""A stratified split for data without one, drawn before any training, so that validation and test are unseen. Free of torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError

TEST_SHARE, VAL_SHARE = 0.2, 0.1


def hold_out(labels: NDArray[np.integer], shares: dict[str, float], seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """Split rows class by class: ``train`` and one split for every share, each in source order.

    A class gives ``round(share * n)`` images to a split, one at least; training always keeps one. So a class of one image is in train alone, and one of two
    gives its second image to the first split named.

    Args:
        labels: (N,) labels.
        shares: share of each held-out split, e.g. ``{"test": 0.2, "val": 0.1}``; scarce images go to the first.
        seed: of the draw; each class draws from a generator of its own.

    Raises:
        UserError: a seed below 0.
    """
    if seed < 0:
        raise UserError(f"the seed of the split is {seed}, expected a whole number from 0")
    taken: dict[str, list[NDArray[np.int64]]] = {name: [] for name in ("train", *shares)}
    for c in np.unique(labels):
        members = np.flatnonzero(labels == c)
        order = np.random.default_rng([seed, int(c)]).permutation(members)
        start = 0
        for name, share in shares.items():
            count = min(max(1, round(share * members.size)), members.size - start - 1)
            taken[name].append(order[start : start + count])
            start += count
        taken["train"].append(order[start:])
    return {name: np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64) for name, parts in taken.items()}


def words(shares: dict[str, float], seed: int) -> str:
    """``20 % test, 10 % val of every class, drawn with seed 0``."""
    return f"{', '.join(f'{100 * share:g} % {name}' for name, share in shares.items())} of every class, drawn with seed {seed}"
