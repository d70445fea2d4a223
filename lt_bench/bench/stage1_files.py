"""The files of a run of stage 1, and the folder that they may go to. Free of torch."""

from __future__ import annotations

from pathlib import Path

from lt_bench.core.errors import UserError
from lt_bench.core.folders import holds_anything

PLAN, LAST, LOG, WEIGHTS = "plan.json", "last.ckpt", "log.csv", "weights.safetensors"
_LOGS = (".log", ".out", ".err", ".txt")
"""Ends of the names of a shell's or Slurm's logs, which often lie in the folder of the run."""


def require_run_place(out: Path) -> None:
    """Refuse a folder that holds other things than a run of stage 1, but for logs.

    Raises:
        UserError: files of another run would be taken for this one's, or anything else is there and no run.
    """
    if (out / PLAN).is_file():
        return
    if other := next((out / name for name in (WEIGHTS, LAST, LOG) if (out / name).exists()), None):
        raise UserError(
            f"{other}: of no run that is known here ({PLAN} is missing), and it would be taken for this one's; name another directory with --out"
        )
    if holds_anything(out, besides=_LOGS):
        raise UserError(f"{out}: holds other things and no run of stage 1; name a new place or an empty folder with --out")
