"""NumPy files that anyone may have written: never unpickled, and no memory is taken for what a header only claims. Free of torch."""

from __future__ import annotations

import math
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.resources import free_memory

_AT_ONCE = 1 << 24
_LONGEST_HEADER = 1 << 16
"""Bytes of a header that are read: NumPy itself takes no more than 10,000."""
_SMALL = 1 << 26
"""Bytes that are read without asking how much memory is free."""


def read_npz(path: Path, names: Iterable[str] | None = None, optional: bool = False) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, all or those named; with ``optional``, a name that is not there is left out.

    Raises:
        ValueError: not such a file, a name is missing or stands twice, an array is larger than its file says or than the free memory.
        OSError: it cannot be read.
    """
    _require_regular(path)
    try:
        source = BytesIO(path.read_bytes()) if path.stat().st_size <= _SMALL else path
        with zipfile.ZipFile(source) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            by_name = {info.filename.removesuffix(".npy"): info for info in members}
            if len(by_name) < len(archive.infolist()):
                raise ValueError("it holds a name twice, or other things than arrays")
            wanted = list(by_name) if names is None else [name for name in names if not optional or name in by_name]
            if missing := [name for name in wanted if name not in by_name]:
                raise ValueError(f"no array {missing[0]!r}; it has {', '.join(by_name) or 'none'}")
            _require_memory(sum(by_name[name].file_size for name in wanted))
            return {name: _member(archive, by_name[name]) for name in wanted}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split()) or "it ends too early") from None


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an .npy file, mapped into memory: its pages are read when they are used, and a change of the array stays out of the file.

    Raises:
        ValueError: not such a file, or its array has another size than the file.
        OSError: it cannot be read.
    """
    _require_regular(path)
    with path.open("rb") as file:
        size = path.stat().st_size
        dtype, shape, fortran = _header(file, size, path.name)
        start, count = file.tell(), math.prod(shape)
        _require_end(path.name, start + count * dtype.itemsize, size)
    flat = np.asarray(np.memmap(path, dtype, "c", start, (count,))) if count else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    if info.file_size <= _SMALL:
        return _array(BytesIO(archive.read(info)), info.file_size, info.filename)
    with archive.open(info) as file:
        return _array(file, info.file_size, info.filename)


def _array(file: IO[bytes], size: int, name: str) -> NDArray[Any]:
    """The array in a file of ``size`` bytes."""
    dtype, shape, fortran = _header(file, size, name)
    count = math.prod(shape)
    _require_memory(count * dtype.itemsize)
    flat = np.empty(count, dtype)
    whole, done = flat.view(np.uint8), 0
    while done < whole.size:
        data = file.read(min(_AT_ONCE, whole.size - done))
        if not data:
            _require_end(name, whole.size, done)
        whole[done : done + len(data)] = np.frombuffer(data, np.uint8)
        done += len(data)
    _require_end(name, done, done + len(file.read(1)))  # at the end of a file in an archive, its checksum is compared
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(file: IO[bytes], size: int, name: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Type, shape and whether columns are stored first, of the array in a file of ``size`` bytes; the file is then at its first value."""
    try:
        version = np.lib.format.read_magic(file)
        length = file.read(2 if version == (1, 0) else 4)
        shape, fortran, dtype = _parsed_header(version, length + file.read(min(int.from_bytes(length, "little"), _LONGEST_HEADER)))
    except (EOFError, SyntaxError, tokenize.TokenError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise ValueError(f"{name}: not a NumPy array ({' '.join(str(error).split())[:80]})") from None
    if dtype.hasobject:
        raise ValueError(f"{name}: an array of Python objects, which are not read")
    count = math.prod(shape)
    if dtype.itemsize == 0 or count < 0 or count * dtype.itemsize > size:
        raise ValueError(f"{name}: its header says {dtype} of shape {shape}, and the file has {size:,} bytes")
    return dtype, shape, fortran


@lru_cache(maxsize=1024)
def _parsed_header(version: tuple[int, int], header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type in a header, its length first; the arrays of many records have the same few headers, and NumPy compiles each."""
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(BytesIO(header))


def _require_end(name: str, end: int, size: int) -> None:
    if end != size:
        raise ValueError(f"{name}: " + ("it ends too early" if size < end else "there is more after its array"))


def _require_regular(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe or a device may never end
        raise ValueError("not a regular file")


def _require_memory(size: int) -> None:
    if size > _SMALL and size > free_memory():
        raise ValueError(f"it takes {size:,} bytes of memory, and {free_memory():,} are free")
