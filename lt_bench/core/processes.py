"""The processes of a job as one of them sees them: its rank, its share, and all that they exchange. They are started by Lightning or by torchrun."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from lt_bench.core.errors import UserError
from lt_bench.core.launchers import Layout, local_rank, under_torchrun

T = TypeVar("T")
CPU = torch.device("cpu")
MIXED = "cpu:gloo,cuda:nccl"  # tensors over NCCL, Python objects over gloo
PATIENCE = timedelta(days=7)  # shares of the work may differ by hours; a process that dies is noticed by its connections, not by the clock


@dataclass(frozen=True)
class Processes:
    """The processes of a job.

    Attributes:
        rank: of this process.
        world: how many there are.
        local: how many there are on this node.
        device: of this process.
        channel: process group for the exchange of Python objects; None: the default group, which tensors always use.
    """

    rank: int = 0
    world: int = 1
    local: int = 1
    device: torch.device = CPU
    channel: distributed.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place, and return it."""
        if self.world > 1:
            distributed.all_reduce(tensor)
        return tensor

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Overwrite a tensor with that of the first process, in place, and return it."""
        if self.world > 1:
            distributed.broadcast(tensor, 0)
        return tensor

    def mine(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """This process's entries along a dimension: every ``world``-th from ``rank`` on."""
        return tensor if self.world == 1 else tensor[(slice(None),) * (dim % tensor.dim()) + (slice(self.rank, None, self.world),)]

    def gathered(self, tensor: Tensor, total: int, dim: int = 0) -> Tensor:
        """Inverse of `mine`: the ``total`` entries of all processes along ``dim``; gradients flow back to each process's own entries."""
        if self.world == 1:
            return tensor
        from torch.distributed.nn.functional import all_gather  # only with several processes

        own = tensor.movedim(dim, 0)
        padded = F.pad(own, (0, 0) * (own.dim() - 1) + (0, -(-total // self.world) - len(own)))
        return torch.stack(all_gather(padded.contiguous()), 1).flatten(0, 1)[:total].movedim(0, dim)

    def part(self, n: int) -> range:
        """This process's run of ``n`` numbers; those of all processes differ by one in length at most."""
        return range(n * self.rank // self.world, n * (self.rank + 1) // self.world)

    def first_does(self, do: Callable[[], T]) -> T:
        """Call ``do`` in the first process and return its result in every process; a UserError of the call ends all processes."""
        return self._outcomes(do if self.is_first else None)[0]

    def all_do(self, do: Callable[[], T]) -> list[T]:
        """Call ``do`` in every process and return all results, by rank; a UserError of one call ends all processes."""
        return self._outcomes(do)

    def each_does(self, do: Callable[[], T]) -> T:
        """Call ``do`` in every process and return this process's own result; a UserError of one call ends all processes."""
        results: list[T] = []
        self.all_do(lambda: results.append(do()))
        return results[0]

    def _outcomes(self, do: Callable[[], T] | None) -> list[T]:
        if self.world == 1:
            return [do()] if do else []
        result, mistake = None, ""
        try:
            result = do() if do else None
        except UserError as error:
            mistake = str(error)
        outcomes: list[Any] = [None] * self.world
        try:
            distributed.all_gather_object(outcomes, (result, mistake), self.channel)
        except RuntimeError as error:
            raise UserError(
                f"another process died ({str(error).splitlines()[0]}); what is written stays, the same command goes on from there"
            ) from None
        if mistakes := [text for _, text in outcomes if text]:
            self._end(mistakes[0])
        return [value for value, _ in outcomes]

    def _end(self, text: str) -> NoReturn:
        if self.is_first:
            raise UserError(text)
        raise SystemExit(2)  # the first process says why


def current(device: torch.device = CPU, local: int = 1, *, own_channel: bool = False) -> Processes:
    """The processes of the process group; this one alone where there is none.

    Args:
        device: of this process.
        local: processes on this node.
        own_channel: open a gloo group for Python objects, since the default group may be NCCL's alone; all processes then have to call this.
    """
    if not _in_group():
        return Processes(device=device)
    channel = distributed.new_group(backend="gloo", timeout=PATIENCE) if own_channel else None
    assert not isinstance(channel, int)  # an int stands for processes outside the group
    return Processes(distributed.get_rank(), distributed.get_world_size(), local, device, channel)


@contextmanager
def process_group(where: Layout, accelerator: str, *, trains: bool = False) -> Iterator[Processes]:
    """The processes of ``where``, which Lightning starts if nobody has; a process group that there is already is taken as it is.

    Args:
        where: nodes and devices.
        accelerator: ``cpu`` or ``cuda``.
        trains: whether a Trainer is to run within, which takes these processes as its own; gradients go over NCCL on CUDA.

    Raises:
        UserError: not so many devices.
    """
    if where.world == 1:
        yield Processes(device=torch.device(accelerator))
        return
    if accelerator == "cuda" and where.devices > torch.cuda.device_count():
        raise UserError(
            f"devices is {where.devices}, and this machine has {torch.cuda.device_count()}; ask for fewer, or --accelerator cpu"
        )
    if _in_group():
        yield current(torch.device("cuda", local_rank()) if accelerator == "cuda" else CPU, where.devices, own_channel=True)
        return
    from lightning.fabric import Fabric  # costs seconds, and one process does without
    from lightning.fabric.strategies.ddp import DDPStrategy

    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script").setLevel(logging.INFO)  # it says which process died
    fabric = Fabric(
        accelerator=accelerator, devices=where.devices, num_nodes=where.nodes,
        strategy=DDPStrategy(process_group_backend=MIXED if trains and accelerator == "cuda" else "gloo", timeout=PATIENCE),
    )  # fmt: skip
    fabric.launch()
    try:
        yield Processes(fabric.global_rank, fabric.world_size, where.devices, fabric.device)
    finally:
        distributed.destroy_process_group()


def join_process_group(where: Layout, device: torch.device) -> None:
    """Under torchrun, meet the other processes before anything is looked up or written, so that one decides for all; Lightning takes the group as it is."""
    if not under_torchrun() or where.world == 1 or _in_group():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(MIXED if device.type == "cuda" else "gloo")


def leave_process_group() -> None:
    """Take down the process group, where there is one."""
    if _in_group():
        distributed.destroy_process_group()


def _in_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()
