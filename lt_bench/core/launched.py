"""Whether this process is one of several: what torchrun and Lightning leave in the environment. Free of torch."""

from __future__ import annotations

import os


def under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def started_by_a_launcher() -> bool:
    """Whether torchrun or Lightning started this process as one of several."""
    return "LOCAL_RANK" in os.environ


def is_first() -> bool:
    """Whether this is the only process, or the first of several; torchrun counts them in RANK, Lightning by node and place on it."""
    variables = ("RANK",) if under_torchrun() else ("NODE_RANK", "LOCAL_RANK")
    return all(os.environ.get(name, "0") == "0" for name in variables)
