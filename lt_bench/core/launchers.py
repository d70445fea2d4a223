"""Environment that torchrun and Lightning set for a process they start: nodes, processes, and which of them it is. Free of torch."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from lt_bench.core.errors import UserError


def under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def started_by_launcher() -> bool:
    """Whether torchrun or Lightning started this process as one of several."""
    return "LOCAL_RANK" in os.environ


def local_rank() -> int:
    """The number of this process on its node, which is that of its device."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_first_process() -> bool:
    """Whether this is the only process, or the first of several: the one that prints and writes.

    The process group says it where there is one; before, torchrun says it in RANK, Lightning in NODE_RANK and LOCAL_RANK.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    variables = ("RANK",) if under_torchrun() else ("NODE_RANK", "LOCAL_RANK")
    return all(os.environ.get(name, "0") == "0" for name in variables)


@dataclass(frozen=True)
class Layout:
    """The processes of a job: ``nodes`` machines with ``devices`` processes each, one device a process."""

    nodes: int
    devices: int

    @property
    def world(self) -> int:
        """All processes together."""
        return self.nodes * self.devices


def layout(devices: int) -> Layout:
    """The layout that ``--devices`` means, which is torchrun's where that started this process.

    Args:
        devices: processes on each node; under torchrun 1, the default, or the number that torchrun was given.

    Raises:
        UserError: no such number, or torchrun's is another, or differs between nodes.
    """
    if devices < 1:
        raise UserError(f"devices is {devices}, expected at least 1")
    if not under_torchrun():
        return Layout(1, devices)
    world, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if devices not in (1, local):
        raise UserError(f"devices is {devices}, and torchrun started {local} processes on this node; leave --devices out")
    if world % local:
        raise UserError(f"torchrun started {world} processes, {local} of them on this node; give every node as many")
    return Layout(world // local, local)
