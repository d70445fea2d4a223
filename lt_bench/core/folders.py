"""Folders that are listed whole: one that cannot be listed is an error, where ``glob`` and ``os.walk`` leave it out without a word."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path

from lt_bench.core.errors import unreadable


def listed(folder: Path) -> list[Path]:
    """Paths in a folder, by name; none where there is no such folder.

    Raises:
        UserError: it cannot be listed.
    """
    return [folder / name for name in names_in(folder)]


def matching(folder: Path, pattern: str) -> list[Path]:
    """Paths in a folder whose names match a pattern; the rest as of ``listed``."""
    return [folder / name for name in fnmatch.filter(names_in(folder), pattern)]


def holds_anything(folder: Path, besides: tuple[str, ...] = ()) -> bool:
    """Whether anything is in a folder, but for temporary files and names that end so; not where there is no such folder."""
    return any(not name.endswith((".partial", *besides)) for name in names_in(folder))


def files_below(folder: Path, links: bool = False) -> Iterator[Path]:
    """Every file of a folder and of those below it, in no order.

    Args:
        folder: is there.
        links: follow links to folders.

    Raises:
        UserError: one of the folders cannot be listed.
    """
    for place, _, names in os.walk(folder, onerror=_refuse, followlinks=links):
        yield from (Path(place) / name for name in names)


def names_in(folder: Path) -> list[str]:
    """Names in a folder, where thousands of paths would be slow to make; the rest as of ``listed``."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - twice as fast where there are thousands
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(folder, error) from None


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # the temporary folder of another process, which has ended
        raise unreadable(error.filename, error) from None
