"""A split for data without one, drawn by hash before any training, so that validation and test are unseen and additions move nobody. Free of torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError

TEST_SHARE, VAL_SHARE = 0.2, 0.1
Shares = Mapping[str, float]
HELD_OUT = "held out"
"""The first words on the origin of validation images that were drawn here."""


def hold_out(
    labels: NDArray[np.integer], shares: Shares, keys: Sequence[str], seed: int = 0, settled: Mapping[str, str] | None = None
) -> dict[str, NDArray[np.int64]]:
    """Split rows: ``train`` and one split for every share, each in source order.

    The seeded hash of a row's key is a place in [0, 1); the first share takes the places below it, the second those above, training the rest. So a row's
    split depends on its own key alone, rows of one key stay together, and a share of a class holds up to chance. Only where chance leaves a class
    without any is a key moved: the last of a class always trains; a class of two keys or more gives its first to the first share; one of three or more gives
    the next, where one is left, to the second. An addition to such a class may take that key's place; it moves no other.

    Args:
        labels: (N,) labels.
        shares: share of each held-out split, e.g. ``{"test": 0.2, "val": 0.1}``; scarce images go to the first.
        keys: (N,) what the membership is by: the content of the image, or the group that it belongs to.
        seed: mixed into the hash.
        settled: splits of keys that are known already; these keys are never moved.

    Raises:
        UserError: a seed below 0.
    """
    if seed < 0:
        raise UserError(f"the seed of the split is {seed}, expected a whole number from 0")
    names, key = np.unique(np.asarray(keys), return_inverse=True)
    places = np.array([_place(str(name), seed) for name in names])
    part = np.searchsorted(np.cumsum(list(shares.values())), places, side="right")  # 0 is the first share
    train, number_of = len(shares), {name: number for number, name in enumerate((*shares, "train"))}
    before = np.array([number_of.get((settled or {}).get(str(name), ""), -1) for name in names])
    part = np.where(before >= 0, before, part)
    classes = list(_keys_by_class(labels, key, places))
    last = [free[-1] for members in classes if not (before[members] == train).any() and (free := members[before[members] < 0]).size]
    part[last] = train
    for number in range(train):
        lacking = (members for members in classes if members.size > number + 1 and not (part[members] == number).any())
        movable = (part >= number) & (before < 0)  # rows of an earlier share stay there
        movable[last] = False
        moved = [first[0] for members in lacking if (first := members[movable[members]]).size]
        part[moved] = number
    return {name: np.flatnonzero(part[key] == number) for number, name in enumerate((*shares, "train"))}


def words(shares: Shares, seed: int, by: str = "images") -> str:
    """``about 20 % test, 10 % val of every class, by hash of the images with seed 0``."""
    return f"about {', '.join(f'{100 * share:g} % {name}' for name, share in shares.items())} of every class, by hash of the {by} with seed {seed}"


def shares_in(source: str) -> dict[str, float]:
    """The shares that ``words`` wrote into the origin of a split; empty where the split was not drawn here."""
    said = re.search(r"about (.*?) of every class", source) if source.startswith(HELD_OUT) else None
    return {name: float(share) / 100 for share, name in re.findall(r"([\d.]+) % (\w+)", said[1])} if said else {}


def classes_of_one_group(labels: NDArray[np.integer], groups: NDArray[np.str_]) -> dict[int, str]:
    """Labels whose rows all belong to one group, and the group: such a class trains, and no row of it is held out."""
    names, group = np.unique(groups, return_inverse=True)
    pairs = np.unique(np.stack([labels, group], axis=1), axis=0)
    present, first, count = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    return {int(label): str(names[pairs[at, 1]]) for label, at in zip(present[count == 1], first[count == 1], strict=True)}


def _place(key: str, seed: int) -> float:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{key}".encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big") / 2**64


def _keys_by_class(labels: NDArray[np.integer], key: NDArray[np.integer], places: NDArray[np.float64]) -> Iterator[NDArray[np.integer]]:
    """The different keys of every class, in the order of their places."""
    pairs = np.unique(np.stack([labels, key], axis=1), axis=0)
    for members in np.split(pairs[:, 1], np.flatnonzero(np.diff(pairs[:, 0])) + 1):
        yield members[np.lexsort((members, places[members]))]
