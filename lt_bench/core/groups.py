"""Processes that share work without gradients: started by Lightning Fabric or by torchrun, they agree over gloo."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
from torch import distributed

from lt_bench.core.errors import UserError
from lt_bench.core.nodes import Layout

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # shares of the work may differ by hours; a process that dies is noticed by its connections, not by the clock


@dataclass(frozen=True)
class Group:
    """The processes of a job as one of them sees them.

    Attributes:
        rank: of this process.
        world: how many there are.
        local: how many there are on this node.
        device: of this process.
        channel: what they talk over; None is the default process group.
    """

    rank: int
    world: int
    local: int
    device: torch.device
    channel: distributed.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and publishes."""
        return self.rank == 0

    def first_does(self, do: Callable[[], T]) -> T:
        """The result of the first process's call, in every process; a UserError of it ends all of them."""
        return self._outcomes(do if self.first else None)[0]

    def all_do(self, do: Callable[[], T]) -> list[T]:
        """The results of every process's call, by rank; a UserError of one ends all of them."""
        return self._outcomes(do)

    def each_does(self, do: Callable[[], T]) -> T:
        """This process's own result, which no other gets; a UserError of one ends all of them."""
        found: list[T] = []
        self.all_do(lambda: found.append(do()))
        return found[0]

    def _outcomes(self, do: Callable[[], T] | None) -> list[T]:
        found: tuple[T | None, str] = (None, "")
        try:
            found = (do() if do else None, "")
        except UserError as error:
            if self.world == 1:
                raise
            found = (None, str(error))
        if self.world == 1:
            return [found[0]]  # pyright: ignore[reportReturnType]
        outcomes: list[Any] = [None] * self.world
        try:
            distributed.all_gather_object(outcomes, found, self.channel)
        except RuntimeError as error:
            raise UserError(
                f"another process died ({str(error).splitlines()[0]}); what is written stays, the same command goes on from there"
            ) from None
        if errors := [text for _, text in outcomes if text]:
            self._end(errors[0])
        return [result for result, _ in outcomes]

    def _end(self, text: str) -> NoReturn:
        if self.first:
            raise UserError(text)
        raise SystemExit(2)  # the first process says why


def joined(device: torch.device, local: int = 1) -> Group:
    """The processes that have met already, with a channel of their own over gloo; one alone where none have. All of them call this.

    Args:
        device: of this process.
        local: processes on this node.
    """
    if not distributed.is_initialized():
        return Group(0, 1, 1, device)
    channel = distributed.new_group(backend="gloo", timeout=PATIENCE)
    assert isinstance(channel, distributed.ProcessGroup)
    return Group(distributed.get_rank(), distributed.get_world_size(), local, device, channel)


@contextmanager
def together(where: Layout, accelerator: str, *, trains: bool = False) -> Iterator[Group]:
    """The group of the processes of ``where``, which are started if nobody has; those that have met already are taken as they are.

    Args:
        where: nodes and devices.
        accelerator: ``cpu`` or ``cuda``.
        trains: whether a Trainer is to run within, which takes these processes as its own; gradients go over NCCL on CUDA.

    Raises:
        UserError: not so many devices.
    """
    if where.world == 1:
        yield Group(0, 1, 1, torch.device(accelerator))
        return
    if accelerator == "cuda" and where.devices > torch.cuda.device_count():
        raise UserError(
            f"devices is {where.devices}, and this machine has {torch.cuda.device_count()}; ask for fewer, or --accelerator cpu"
        )
    if distributed.is_initialized():
        device = torch.device(accelerator, int(os.environ["LOCAL_RANK"])) if accelerator == "cuda" else torch.device("cpu")
        yield joined(device, where.devices)
        return
    from lightning.fabric import Fabric  # costs seconds, and one process does without
    from lightning.fabric.strategies.ddp import DDPStrategy

    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script").setLevel(logging.INFO)  # it says which process died
    fabric = Fabric(
        accelerator=accelerator, devices=where.devices, num_nodes=where.nodes,
        strategy=DDPStrategy(process_group_backend="cpu:gloo,cuda:nccl" if trains and accelerator == "cuda" else "gloo", timeout=PATIENCE),
    )  # fmt: skip
    fabric.launch()
    try:
        yield Group(fabric.global_rank, fabric.world_size, where.devices, fabric.device)
    finally:
        distributed.destroy_process_group()
