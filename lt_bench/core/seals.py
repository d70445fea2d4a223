"""Seals: digests of what a file holds, by which a reader knows that it is as it was written. They find damage and edits, not forgery: whoever edits can seal again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lt_bench.core.errors import UserError
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
        UserError: unreadable, not JSON, nested beyond what Python parses, or no object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({' '.join(str(error).split())[:200]}); {advice}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged (a {type(content).__name__} where an object belongs); {advice}")
    return content
