"""How many nodes and processes: torchrun's numbers where it started this process, else one node. Free of torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from lt_bench.core.errors import UserError
from lt_bench.core.launched import under_torchrun


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
