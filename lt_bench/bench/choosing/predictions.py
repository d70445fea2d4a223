"""Sealed files of stored predictions, one for each strategy, so that no fit is repeated. Free of torch."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.seals import check_seal, check_version, read_json_object, sealed

SCHEMA_VERSION = 1
CHOICES = "choices"
AGAIN = "run `lt-bench choose` again"
_TYPE = "<i4"


def write_predictions(path: Path, identity: Mapping[str, Any], predictions: NDArray[np.int32]) -> Path:
    """Write predictions (P, S, F, N) with the identity of their fits."""
    text = base64.b64encode(zlib.compress(predictions.astype(_TYPE).tobytes())).decode()
    document = sealed({"schema": SCHEMA_VERSION, "identity": identity, "predictions": text})
    return write_text(path, json.dumps(document, indent=1) + "\n")


def read_predictions(path: Path, again: str = AGAIN) -> NDArray[np.int32]:
    """The predictions in a stored file, flattened; ``again`` names the command that computes them anew.

    Raises:
        UserError: the file is damaged, altered, or of another version.
    """
    document = read_json_object(path, f"move it away and {again}")
    check_version(document, SCHEMA_VERSION, path, "kept predictions", again)
    check_seal(document, path, again)
    try:
        return np.frombuffer(zlib.decompress(base64.b64decode(document["predictions"], validate=True)), _TYPE).astype(np.int32)
    except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
        raise UserError(f"{path}: damaged ({' '.join(str(error).split())}); move it away and {again}") from None
