"""The training images of weights: hashes of their pixels in the metadata of the weights file, under its seal."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from lt_bench.core.content import Hashes
from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.files import require_readable

ROWS, FILES = "training_rows", "training_files"


def rows_text(rows: Hashes) -> str:
    """Hashes as text for the metadata: sorted, each once."""
    return base64.b64encode(np.unique(rows).astype("<u8").tobytes()).decode()


def read_training_rows(path: Path) -> Hashes | None:
    """Hashes (``data.hashes``) of the images that weights of the suite's own were trained on; None where the file does not say.

    Raises:
        UserError: the file is damaged.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        require_readable(path)
        with safe_open(path, "np") as file:
            text = (file.metadata() or {}).get(ROWS)
        return None if text is None else np.frombuffer(base64.b64decode(text, validate=True), "<u8").astype(np.uint64)
    except PermissionError as error:
        raise unreadable(path, error) from None
    except (SafetensorError, OSError, binascii.Error, ValueError) as error:
        raise UserError(f"{path}: damaged ({' '.join(str(error).split())}); take a copy, or train again") from None
