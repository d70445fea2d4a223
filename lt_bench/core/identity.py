"""Identity of a run: canonical JSON and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from lt_bench.core.errors import UserError


def canonical_json(value: object) -> str:
    """One text for one value: keys sorted, no spaces, shortest round-trip floats, no NaN.

    Raises:
        UserError: the value holds something that JSON cannot say exactly (NaN, infinity, an object).
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"cannot be part of a record's identity: {error}; use plain finite numbers, strings, booleans, lists and mappings"
        ) from error


def record_id(identity: Mapping[str, object]) -> str:
    """The first 16 hex digits of the SHA-256 of the canonical JSON of a record's `identity`."""
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]
