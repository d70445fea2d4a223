"""Files of tensors: safetensors, as they are or compressed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save, save_file
from torch import Tensor

from lt_bench.core.errors import unreadable
from lt_bench.core.files import require_readable

COMPRESSED = ".gz"
"""Ending of a compressed safetensors file, after its own."""
_GZIP = 31  # zlib's window of 2^15 bytes, and 16 for a gzip header


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, compressed where the name ends in ``.gz``.

    Raises:
        OSError: the disk is full, or the place cannot be written; safetensors says so by an error of its own.
    """
    named = None if metadata is None else dict(metadata)
    if path.suffix == COMPRESSED:
        # Huffman codes alone: features hardly repeat, and a search for repetitions would only take time
        packed = zlib.compressobj(9, zlib.DEFLATED, _GZIP, 9, zlib.Z_HUFFMAN_ONLY)
        path.write_bytes(packed.compress(save(dict(tensors), named)) + packed.flush())
        return
    try:
        save_file(dict(tensors), path, named)
    except SafetensorError as error:
        raise OSError(str(error)) from None


def stored_tensor(path: Path, key: str) -> Tensor:
    """A tensor of a safetensors file, memory-mapped; of a compressed one, in memory.

    Raises:
        UserError: the file may not be read.
        OSError, SafetensorError: it is missing or damaged, or there is no such tensor.
    """
    try:
        require_readable(path)
    except PermissionError as error:
        raise unreadable(path, error) from None
    if path.suffix == COMPRESSED:
        tensors = _decompressed(path, path.stat().st_mtime_ns)
        if key not in tensors:
            raise SafetensorError(f"no tensor {key}")
        return tensors[key]
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(key)


@lru_cache(maxsize=1)  # the arrays of a file are asked for one after another
def _decompressed(path: Path, changed: int) -> dict[str, Tensor]:
    """All tensors of a compressed file; ``changed`` is its time, so that one written anew is read anew."""
    try:  # gzip, as zlib.decompress passes over bytes behind the end
        return load(gzip.decompress(path.read_bytes()))
    except (zlib.error, EOFError) as error:
        raise OSError(str(error)) from None
