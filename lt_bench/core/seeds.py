"""Seeds with axes: each is the hash of what it belongs to, so that strategies share batch orders at the same repetition. Free of torch."""

from __future__ import annotations

import hashlib


def derive_seed(axis: str, *coordinates: int | str) -> int:
    """A seed below 2**63 from the name of what varies (``init``, ``order``, ``noise``, ``subset``) and its coordinates, e.g. the repetition and the epoch."""
    text = "/".join([axis, *(str(c) for c in coordinates)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
