"""Checkpoints that a fit goes on from: whole by their seal, and read without running code."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lt_bench.core.errors import UserError
from lt_bench.core.seals import archive_holds


def require_whole(path: Path) -> None:
    """Refuse a checkpoint whose bytes are not those that were written.

    Raises:
        UserError: they are not, or it carries no seal.
    """
    try:
        holds = archive_holds(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not holds:
        what = (
            "carries no seal: damaged, or written by an earlier version" if holds is None else "damaged: its bytes are not what was written"
        )
        raise UserError(f"{path}: {what}; put a copy of it or of an epoch-N.ckpt beside it in its place, or move it away to begin again")


@contextmanager
def resumed(path: Path) -> Iterator[Path | None]:
    """The checkpoint to go on from, checked; None where there is none. What would run code is refused when it is read.

    Raises:
        UserError: it is damaged, or holds other things than tensors and plain values.
    """
    if not path.is_file():
        yield None
        return
    require_whole(path)
    try:
        yield path
    except pickle.UnpicklingError as error:
        line = next(
            (line.strip() for line in str(error).splitlines() if "nsupported" in line), "objects that are not tensors or plain values"
        )
        raise UserError(
            f"{path}: not read for safety ({line.partition(' Please use')[0].rstrip('.')}); move it away to begin again"
        ) from None
