"""Content of images and arrays as 64-bit hashes: what is the same has the same hash, whatever its name. Free of torch."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.resources import usable_cores

Hashes = NDArray[np.uint64]
_BYTES = 8
_hashed: dict[tuple[Path, int, int], int] = {}
"""Hashes of files by path, size and time of change in nanoseconds: one command asks for those of a data set several times."""


def bytes_hash(data: bytes | memoryview, salt: bytes = b"") -> int:
    """BLAKE2b of ``salt`` and ``data``, 64 bits. Two of a million different contents agree with a probability of 3e-8."""
    hasher = hashlib.blake2b(salt, digest_size=_BYTES)
    hasher.update(data)
    return int.from_bytes(hasher.digest(), "little")


def row_hashes(rows: NDArray) -> Hashes:
    """Hashes (N,) of the rows of an array (N, ...): of the type, the shape and the bytes of each. Pixels (N, H, W, 3) uint8 are an image's content."""
    head = f"{rows.dtype.str}{rows.shape[1:]}".encode()
    return np.fromiter((bytes_hash(np.ascontiguousarray(row).tobytes(), head) for row in rows), np.uint64, len(rows))


def file_hashes(paths: Sequence[Path]) -> Hashes:
    """Hashes (N,) of the bytes of files, several read at a time. A file is read again only where its size or its time of change is another.

    Raises:
        UserError: a file cannot be read, or is a pipe or a device, whose reading may never end.
    """

    def one(path: Path) -> int:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path}: not a regular file; move it to another folder")
            version = path, status.st_size, status.st_mtime_ns
            if version not in _hashed:
                _hashed[version] = bytes_hash(path.read_bytes())
            return _hashed[version]
        except PermissionError as error:
            raise unreadable(path, error) from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None

    with ThreadPoolExecutor(min(16, 2 * usable_cores())) as pool:
        return np.fromiter(pool.map(one, paths, chunksize=64), np.uint64, len(paths))
