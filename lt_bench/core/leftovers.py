"""Temporary files and folders whose names say which process writes them, so that those of a killed process are removed, and no other's."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

FORGOTTEN = 7 * 24 * 3600.0
"""Seconds without a change after which a temporary file of another machine or boot, whose processes cannot be seen from here, counts as left over."""
_NAME = re.compile(r"^\..+\.(?P<machine>[0-9a-f]{12})-(?P<process>[0-9]+)-(?P<start>[0-9]+)-[a-z0-9_]+\.partial$", re.DOTALL)
_SEARCHED: set[tuple[int, str]] = set()


def temporary_beside(path: Path) -> Path:
    """A fresh hidden name beside ``path``, on the same file system; what killed processes left in that folder is removed first, once a process."""
    remove_leftovers(path.parent)
    return path.with_name(f".{path.name}.{_writer()}-{uuid.uuid4().hex[:8]}.partial")


def temporary_directory() -> tempfile.TemporaryDirectory[str]:
    """A folder among the system's temporary files, gone at the end of this process or, where it is killed, at the next that makes one."""
    remove_leftovers(Path(tempfile.gettempdir()))
    return tempfile.TemporaryDirectory(prefix=f".lt-bench.{_writer()}-", suffix=".partial", ignore_cleanup_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that are gone left in a folder; a folder is searched once a process."""
    if (key := (os.getpid(), str(folder.absolute()))) in _SEARCHED:
        return
    _SEARCHED.add(key)
    with suppress(OSError):
        for entry in os.scandir(folder):
            if (match := _NAME.match(entry.name)) and _is_left_over(Path(entry.path), match):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    with suppress(OSError):
                        os.unlink(entry.path)  # noqa: PTH108 - of a name, also where it is a link


def _is_left_over(path: Path, match: re.Match[str]) -> bool:
    if match["machine"] != _machine():
        return time.time() - path.lstat().st_mtime > FORGOTTEN
    return not _runs(int(match["process"]), match["start"])


def _writer() -> str:
    """The part of a name that tells this process from all others, now and later: machine, number and start."""
    return f"{_machine()}-{os.getpid()}-{_start(os.getpid()) or 0}"


@functools.cache
def _machine() -> str:
    """Hash of the place where process numbers mean the same. The boot belongs to it: two machines of one name may share a file system."""
    space, boot = "", ""
    with suppress(OSError):  # a container counts its own processes
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - the link names no file
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return hashlib.sha256(f"{os.uname().nodename} {space} {boot}".encode()).hexdigest()[:12]


def _start(process: int) -> str | None:
    """Start of a process, in ticks since the boot; None where the system does not say, or it has ended."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    return None


def _runs(process: int, start: str) -> bool:
    if Path("/proc/self/stat").exists():
        return _start(process) == start
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
