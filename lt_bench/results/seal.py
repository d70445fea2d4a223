"""Digests of the arrays of a run, which bind them to its sealed record. Free of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError


def array_digest(array: NDArray[Any]) -> str:
    """SHA-256 (64 hex digits) of an array: its type, shape and little-endian values in row-major order."""
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    head = f"{plain.dtype.str} {plain.shape}\n".encode()
    return hashlib.sha256(head + plain.tobytes()).hexdigest()


def arrays_digest(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """The digest of each array, by name."""
    return {name: array_digest(arrays[name]) for name in sorted(arrays)}


def check_arrays(arrays: Mapping[str, NDArray[Any]], digests: Mapping[str, str], path: Path) -> None:
    """Refuse arrays that are not those of the record beside them.

    Args:
        arrays: all of the file, or some.
        digests: of the record (``RunRecord.arrays``).
        path: of the arrays' file.

    Raises:
        UserError: one is not among those of the record, or another.
    """
    for name, array in arrays.items():
        if array_digest(array) != digests.get(name):
            raise UserError(
                f"{path}: {name} is not the one that was recorded, so the file was altered or is of another run; restore it from a copy, or move it and "
                f"{path.stem}.json away and run again"
            )
