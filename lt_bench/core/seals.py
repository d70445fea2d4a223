"""Seals: digests of what a file holds, by which a reader knows that it is as it was written. They find damage and edits, not forgery: whoever edits can seal again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lt_bench.core.commands import word
from lt_bench.core.documents import parse_json
from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.identity import canonical_json

SEAL = "seal"


def seal_of(content: Mapping[str, Any]) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON of a mapping, without its own entry ``seal``.

    Raises:
        UserError: the mapping holds what JSON cannot say exactly.
    """
    return hashlib.sha256(canonical_json({name: value for name, value in content.items() if name != SEAL}).encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with its seal as the last entry."""
    return {name: value for name, value in content.items() if name != SEAL} | {SEAL: seal_of(content)}


def check_seal(content: Mapping[str, Any], path: Path | str, again: str) -> None:
    """Refuse a file that was altered after it was written.

    Args:
        content: the parsed file, with its seal.
        path: path or description of the file, the beginning of the message.
        again: what makes the file anew, the end of the message.

    Raises:
        UserError: the seal is missing or is not that of the content.
    """
    if content.get(SEAL) != seal_of(content):
        raise UserError(
            f"{path}: altered after it was written (its seal does not hold); restore it from a copy, or move it away and {again}"
        )


def check_version(content: Mapping[str, Any], current: int, path: Path | str, kind: str, again: str) -> None:
    """Refuse a file of another version of its schema; one of version 1 can be brought up to date.

    Args:
        content: the parsed file, with its ``schema``.
        current: the version that this program reads.
        path: of the file.
        kind: of the file, e.g. ``a record``.
        again: what makes the file anew, the end of the message.

    Raises:
        UserError: names ``path`` and the way out.
    """
    version = content.get("schema")
    if version == 1 < current:
        raise UserError(f"{path}: {kind} of schema 1, this version reads {current}; `lt-bench migrate {word(path)}` brings it up to date")
    if version != current:
        raise UserError(
            f"{path}: schema is {version!r}, this version reads {current}; use the version of lt-bench that wrote it, or move it away and {again}"
        )


def digest_of(path: Path) -> str:
    """SHA-256 (64 hex digits) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json_object(path: Path, advice: str) -> dict[str, Any]:
    """The JSON object of a file.

    Args:
        path: the file.
        advice: what to do where it cannot be read, the end of the message.

    Raises:
        UserError: unreadable, not JSON, or no object.
    """
    try:
        text = path.read_bytes()
    except PermissionError as error:
        raise unreadable(path, error) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {advice}") from None
    return json_object(text, path, advice)


def json_object(text: str | bytes, path: Path, advice: str) -> dict[str, Any]:
    """The JSON object that was read from a file; the rest as of ``read_json_object``."""
    try:
        content = parse_json(text)
    except ValueError as error:
        raise UserError(f"{path}: damaged ({' '.join(str(error).split())[:200]}); {advice}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged (a {type(content).__name__} where an object belongs); {advice}")
    return content


_TRAILER = b"lt-bench sha256 "
_LENGTH = len(_TRAILER) + 64


def seal_archive(path: Path) -> None:
    """Put the digest of a zip archive, such as ``torch.save`` writes, at its end, as the archive's comment: other readers see the archive as before.

    Raises:
        ValueError: the archive has a comment already.
    """
    with path.open("r+b") as file:
        file.seek(-2, 2)
        if file.read(2) != b"\0\0":  # the length of the comment, the last field of an archive
            raise ValueError(f"{path}: an archive with a comment")
        file.seek(-2, 2)
        file.write(_LENGTH.to_bytes(2, "little"))
    digest = digest_of(path)
    with path.open("ab") as file:
        file.write(_TRAILER + digest.encode())


def archive_holds(path: Path) -> bool | None:
    """Whether an archive's bytes are those that were sealed; None where it carries no seal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LENGTH))
        trailer = file.read()
        if not trailer.startswith(_TRAILER):
            return None
        file.seek(0)
        digest = hashlib.sha256()
        for start in range(0, size - _LENGTH, 1 << 20):
            digest.update(file.read(min(1 << 20, size - _LENGTH - start)))
    return trailer[len(_TRAILER) :] == digest.hexdigest().encode()
