"""Whole files or none: written under a temporary name in the same folder, put on disk, renamed; with the permissions that a person's umask gives."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lt_bench.core.errors import UserError
from lt_bench.core.leftovers import temporary_beside

BEGINNING = 4096


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write, which takes the place of ``path`` when the block has ended without an error; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
        put_on_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> Path:
    """Let ``write`` fill a file that appears at ``path`` only when it is complete."""
    with replacing(path) as temporary, temporary.open("xb") as file:
        write(file)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically."""
    return write_atomic(path, lambda file: file.write(text.encode()))


def require_ours(signs: Mapping[Path, str]) -> None:
    """Refuse to replace a file that does not begin as the suite's own do.

    Args:
        signs: text within the first `BEGINNING` bytes of what the suite writes, by path.

    Raises:
        UserError: names a file that is there and has another beginning.
    """
    for path, sign in signs.items():
        if path.is_file():
            with path.open("rb") as file:
                if sign.encode() not in file.read(BEGINNING):
                    raise UserError(f"{path}: not a file that lt-bench wrote, and it would be replaced; name another place with --out")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, for which other processes wait; it ends with the process and leaves no file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def put_on_disk(path: Path) -> None:
    """Have a file, or the entries of a folder, on disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_usual_mode(path: Path) -> None:
    """Give a file the permissions of any new file in its folder; safetensors writes for the owner alone.

    They are read from a new file beside it, because asking for the umask means to change it, for every thread.
    """
    probe = temporary_beside(path)
    probe.touch()
    try:
        path.chmod(probe.stat().st_mode)
    finally:
        probe.unlink()
