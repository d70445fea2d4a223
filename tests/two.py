"""Two processes in tests, forked from a server that has imported Lightning once and has started no thread."""

from collections.abc import Callable
from multiprocessing.context import ForkServerContext

from lt_bench.core.lean_import import import_torchmetrics_alone

import_torchmetrics_alone()

import lightning.pytorch  # noqa: E402, F401 - the server imports this file
from torch import multiprocessing  # noqa: E402
from torch.multiprocessing.spawn import start_processes  # noqa: E402


def server() -> ForkServerContext:
    """The context whose processes are forked from that server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def run_two(main: Callable[..., None], *arguments: object) -> None:
    """Run ``main(rank, *arguments)`` in two processes.

    Raises:
        torch.multiprocessing.ProcessRaisedException: one of them failed.
    """
    server()
    start_processes(main, arguments, nprocs=2, start_method="forkserver")
