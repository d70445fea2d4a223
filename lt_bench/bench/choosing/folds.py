"""Folds of rows: stratified by class, groups kept whole. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ALWAYS_TRAINS = -1


def folds_of(
    labels: NDArray[np.integer], groups: NDArray, folds: int, num_classes: int, *, trained: bool, seed: int = 0
) -> NDArray[np.int64]:
    """The fold (N,) of each row, 0 to folds - 1.

    Classes are assigned from the smallest to the largest. Each group of the class, the largest first and equal ones in a random order, goes to the fold with the fewest rows of the
    class, and among equal folds to the one with the fewest rows. A group goes as a whole, with its rows of other classes.

    Args:
        labels: (N,).
        groups: (N,) a name or number of each row's group.
        folds: number of folds.
        num_classes: K.
        trained: whether heads are fitted on the other folds. A class with all its rows in one fold is then never held out (`ALWAYS_TRAINS`), nor
            are the other rows of its groups.
        seed: of the random order.
    """
    _, group = np.unique(groups, return_inverse=True)
    there = int(group.max()) + 1
    pairs, rows = np.unique(np.stack([group, labels]), axis=1, return_counts=True)
    order = np.random.default_rng(seed).permutation(pairs.shape[1])
    pairs, rows = pairs[:, order], rows[order]
    of_class = np.bincount(labels, minlength=num_classes)
    classes_of = _by(pairs[0])
    fold, filled, total = np.full(there, ALWAYS_TRAINS), np.zeros((num_classes, folds), np.int64), [0] * folds
    for c in np.argsort(of_class, kind="stable"):
        members = np.flatnonzero(pairs[1] == c)
        for member in members[np.argsort(-rows[members], kind="stable")]:
            one = pairs[0, member]
            if fold[one] == ALWAYS_TRAINS:
                fold[one] = min(range(folds), key=lambda k: (filled[c, k], total[k]))
                for place in classes_of[one]:
                    filled[pairs[1, place], fold[one]] += rows[place]
                    total[fold[one]] += int(rows[place])
    if trained:
        # A group that leaves its fold may leave another class in one fold alone.
        while (whole := np.flatnonzero(((filled > 0).sum(1) == 1) & (filled.sum(1) == of_class))).size:
            for one in np.unique(pairs[0, np.isin(pairs[1], whole)]):
                for place in classes_of[one]:
                    filled[pairs[1, place], fold[one]] -= rows[place]
                fold[one] = ALWAYS_TRAINS
    return fold[group]


def _by(keys: NDArray[np.integer]) -> list[NDArray[np.intp]]:
    """The places of each key 0..G-1."""
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.cumsum(np.bincount(keys))[:-1])
