"""Rows of a split, and the identity of a split: the hash of its canonical rows. Free of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError

Selection = Literal["first", "seed0"]
Rows = NDArray[np.int64]


def first_positions(sizes: Sequence[int], counts: Sequence[int]) -> list[Rows]:
    """The first n_c positions of each class's rows, in source order (official LOS and weight-balancing code).

    Args:
        sizes: (K,) rows that the source has of each class.
        counts: (K,) rows to take of each class, at most its size.
    """
    return [np.arange(count, dtype=np.int64) for _, count in zip(sizes, counts, strict=True)]


def seed0_positions(sizes: Sequence[int], counts: Sequence[int]) -> list[Rows]:
    """The first n_c of each class's positions after a shuffle, class by class from one legacy generator seeded with 0.

    The standard CIFAR-LT subset (Cao et al. 2019, LDAM-DRW ``imbalance_cifar.py``), exact only for the balanced original in its official row order.
    """
    generator = np.random.RandomState(0)  # the frozen legacy stream is the definition
    positions = []
    for size, count in zip(sizes, counts, strict=True):
        order = np.arange(size, dtype=np.int64)
        generator.shuffle(order)
        positions.append(order[:count])
    return positions


def fingerprint(positions: Iterable[Rows]) -> str:
    """First 16 hex digits of the SHA-256 of all positions as little-endian int32, class after class (for comparison with published fingerprints)."""
    return hashlib.sha256(b"".join(np.asarray(p, dtype="<i4").tobytes() for p in positions)).hexdigest()[:16]


def select_rows(labels: NDArray[np.integer], counts: Sequence[int], selection: Selection) -> Rows:
    """Rows of a long-tailed subset, class after class.

    Args:
        labels: (N,) labels of the source, in its row order.
        counts: (K,) images to take of each class.
        selection: ``first`` or ``seed0``.

    Raises:
        UserError: the source has too few images of a class for ``counts``, or ``seed0`` of a source that is not balanced.
    """
    sizes = np.bincount(labels, minlength=len(counts))
    short = np.flatnonzero(sizes[: len(counts)] < np.asarray(counts))
    if short.size:
        c = int(short[0])
        raise UserError(
            f"class {c} has {sizes[c]} images, the profile wants {counts[c]}: the source is itself imbalanced ({sizes.max() / max(1, sizes.min()):.3g} times); "
            "choose an imbalance factor no lower than that or give the balanced original"
        )
    if selection == "seed0" and sizes.min() != sizes.max():
        raise UserError(
            f"selection seed0 needs the balanced original, this source has {sizes.min()} to {sizes.max()} images per class; use --selection first"
        )
    chosen = (first_positions if selection == "first" else seed0_positions)(sizes.tolist(), counts)
    return np.concatenate([np.flatnonzero(labels == c)[positions] for c, positions in enumerate(chosen)])


def rows_outside(labels: NDArray[np.integer], used: Rows, per_class: int | None) -> Rows:
    """Validation rows for data without a validation file: up to ``per_class`` rows (None: all) of each class outside ``used``, in source order, class after class."""
    free = np.ones(labels.shape[0], dtype=bool)
    free[used] = False
    return np.concatenate([np.flatnonzero(free & (labels == c))[:per_class] for c in range(int(labels.max()) + 1)])


def image_rows(images: NDArray[np.uint8], labels: NDArray[np.integer]) -> list[bytes]:
    """Canonical rows of decoded images (N, 3, H, W): the digest of label, size and pixels, so that a split is the same from any file format."""
    head = np.asarray(images.shape[1:], dtype="<i4").tobytes()
    return [hashlib.sha256(int(y).to_bytes(4, "little") + head + x.tobytes()).digest() for x, y in zip(images, labels, strict=True)]


def listed_rows(paths: Iterable[str], labels: Iterable[int]) -> list[bytes]:
    """Canonical rows of images known by file: the digest of label and relative path with forward slashes."""
    return [hashlib.sha256(int(y).to_bytes(4, "little") + path.encode()).digest() for path, y in zip(paths, labels, strict=True)]


def split_hash(splits: Mapping[str, Sequence[bytes]]) -> str:
    """Identity of a data set's splits: 16 hex digits from the canonical rows of train, val and test, whatever the order of rows within each."""
    total = hashlib.sha256()
    for name in sorted(splits):
        total.update(f"{name}:{len(splits[name])}\n".encode())
        for row in sorted(splits[name]):
            total.update(row)
    return total.hexdigest()[:16]
