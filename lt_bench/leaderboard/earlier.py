"""Removal of files that an earlier leaderboard wrote and the present one did not: only files that are listed with their digest and unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lt_bench.core.documents import parse_json
from lt_bench.core.files import write_text
from lt_bench.core.seals import digest_of

LIST = "files.json"


def replace_earlier(directory: Path, written: Mapping[str, Sequence[Path]]) -> None:
    """List the files written now, and remove files of the same formats that an earlier call listed and this one did not write.

    Files that were changed since, or that are not listed, stay.

    Args:
        directory: of the leaderboard; its `files.json` has the SHA-256 of each file, by format.
        written: the files of each format, all in `directory`.
    """
    noted = _noted(directory / LIST)
    for kind, paths in written.items():
        now = {path.relative_to(directory).as_posix(): digest_of(path) for path in paths}
        for name, digest in noted.get(kind, {}).items():
            path = directory / name
            if name not in now and ".." not in path.parts and path.is_file() and not path.is_symlink() and digest_of(path) == digest:
                path.unlink()
        noted[kind] = now
    write_text(directory / LIST, json.dumps(noted, indent=1, sort_keys=True) + "\n")


def _noted(path: Path) -> dict[str, dict[str, str]]:
    """Files and digests that an earlier call listed, by format; nothing where the file is missing or damaged."""
    try:
        noted = parse_json(path.read_bytes())
        return {kind: {str(name): str(digest) for name, digest in names.items()} for kind, names in noted.items()}
    except (OSError, ValueError, AttributeError):
        return {}
