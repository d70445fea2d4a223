"""Statistics that are kept between calls: text under a digest of its own. They save time and decide nothing: what cannot be read is computed again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from lt_bench.core.errors import FAILURES_OF_CODE
from lt_bench.core.files import write_text

KEPT_NAME = re.compile(r"[0-9a-f]{32}-\d+-\d+\.json")
T = TypeVar("T")


def kept_or_computed(path: Path, compute: Callable[[], T], to_json: Callable[[T], Any], from_json: Callable[[Any], T]) -> T:
    """The value that is kept in a file, else a computed one, which is kept where that can be.

    Args:
        path: of the file, whose name holds all that the value hangs on.
        compute: the value anew.
        to_json: a value as what JSON can say (NaN and infinities included).
        from_json: the other way.
    """
    if (text := _read(path)) is not None:
        with suppress(RecursionError, *FAILURES_OF_CODE):
            return from_json(json.loads(text))
    value = compute()
    text = json.dumps(to_json(value))
    with suppress(OSError):  # a full disk, or a folder that is read-only: the next call computes again
        write_text(path, f"{text}\n{_digest(text)}\n")
    return value


def kept_holds(path: Path) -> bool:
    """Whether a file of kept statistics is as it was written."""
    return _read(path) is not None


def _read(path: Path) -> str | None:
    """The text of a file, without its digest; None where there is none that holds."""
    try:
        text, digest = path.read_text(encoding="utf-8").removesuffix("\n").rsplit("\n", 1)
    except (OSError, ValueError):
        return None
    return text if digest == _digest(text) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
