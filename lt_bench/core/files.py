"""Whole files or none: written under a temporary name in the same folder, put on disk, renamed; with the permissions that a person's umask gives."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lt_bench.core.errors import NotWrittenError, UserError
from lt_bench.core.leftovers import temporary_beside

BEGINNING = 4096
_OPEN_FILES = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))
"""Folders of links to open files: one that leads to a file, as in ``--out /dev/stdout > x``, would be replaced itself."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write, which takes the place of ``path`` when the block has ended without an error; its folder is made.

    Raises:
        NotWrittenError: the disk is full, or the place cannot be written.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            put_on_disk(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error.filename, str) and Path(error.filename) not in (temporary, path, *path.parents):  # of what is read meanwhile
            raise
        raise NotWrittenError(error.errno, error.strerror or str(error), str(path)) from error


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> Path:
    """Let ``write`` fill a file that appears at ``path`` only when it is complete; a device or pipe is written to and never replaced."""
    if _is_device(path):
        with path.open("wb") as file:
            write(file)
        return path
    with replacing(path) as temporary, temporary.open("xb") as file:
        write(file)
    return path


def _is_device(path: Path) -> bool:
    """Whether a path leads to a device or pipe, or is a name of an open file, such as /dev/stdout, that leads anywhere."""
    if path.absolute().parent in _OPEN_FILES:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


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


def require_place(directory: Path, advice: str, what: str = "files", beside: bool = False) -> None:
    """Refuse a directory that cannot be written, or made, before hours are spent on what it is to hold; nothing is made yet.

    Args:
        directory: the place.
        advice: for a directory that cannot be written.
        what: its future content, in words.
        beside: whether it is written beside its place and renamed, so that the folder above has to be writable.

    Raises:
        UserError: names the directory; ends with the advice.
    """
    try:
        _try_to_write(directory.resolve().parent if beside else directory)
    except OSError as error:
        raise UserError(f"{directory}: {what} cannot be written there ({error.strerror}); {advice}") from None


def require_file_place(path: Path, advice: str) -> None:
    """Refuse a file that could not be written when its content is there; nothing is made yet.

    Raises:
        UserError: names it; ends with the advice.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder, and a file is to be written; {advice}")
    try:
        if not _is_device(path):
            _try_to_write(path.absolute().parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); {advice}") from None


def _try_to_write(directory: Path) -> None:
    """Write a file without a name in a directory or, where it is not there, in the first above it."""
    place = next(one for one in (directory, *directory.absolute().parents) if one.exists())
    with tempfile.TemporaryFile(dir=place):
        pass


def require_readable(path: Path) -> None:
    """Open a file, so that the system says why it cannot be read; safetensors calls every such file absent.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb"):
        pass


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
