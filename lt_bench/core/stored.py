"""Figures that are kept between calls, as sealed JSON. They save time and decide nothing: what cannot be read is computed again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from lt_bench.core.errors import FAILURES_OF_CODE, UserError
from lt_bench.core.files import write_text
from lt_bench.core.seals import check_seal, read_json_object, sealed

STORED_NAME = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}-statistics\.json|[0-9a-f]{16}-[0-9]+-collapse\.json")
AGAIN = "it is made anew where it is asked for"
T = TypeVar("T")


def stored_or_computed(
    path: Path, compute: Callable[[], T], to_json: Callable[[T], Mapping[str, Any]], from_json: Callable[[Mapping[str, Any]], T]
) -> T:
    """Read a value from a file, or compute it and write the file where that is possible.

    Args:
        path: path of the file, whose name holds all that the value depends on.
        compute: computes the value.
        to_json: turns a value into a JSON object; a value with NaN or infinity is not written.
        from_json: inverse of ``to_json``.
    """
    with suppress(UserError, *FAILURES_OF_CODE):
        return from_json(read_stored(path))
    value = compute()
    with suppress(OSError, UserError):  # a full disk, or a folder that is read-only: the next call computes again
        write_text(path, json.dumps(sealed(to_json(value))) + "\n")
    return value


def read_stored(path: Path) -> dict[str, Any]:
    """The content of a file of kept figures.

    Raises:
        UserError: it is not there, damaged, or not as it was written.
    """
    content = read_json_object(path, AGAIN)
    check_seal(content, path, AGAIN)
    return content
