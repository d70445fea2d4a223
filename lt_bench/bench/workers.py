"""Worker processes that take units of work from one queue; one that dies is replaced, and its unit is taken up again. Free of torch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from lt_bench.core.exiting import exit_at_once
from lt_bench.core.lean_import import import_torchmetrics_alone, imports_torchmetrics_alone

U = TypeVar("U")
R = TypeVar("R")

ATTEMPTS = 2
GRACE = 10.0
"""Seconds that a worker is given to end before it is killed."""

_spawning = multiprocessing.get_context("spawn")


class Death(str):
    """Description of how the workers that took a unit died."""


class Share(float):
    """Share of a unit that is done so far."""


class Telling(ABC):
    """Base class of callables that do a unit and call ``tell`` with the share of it that is done; the caller sets ``tell``."""

    tell: Callable[[float], None] = staticmethod(lambda share: None)

    @abstractmethod
    def __call__(self, unit: Any) -> Any:
        """Do a unit."""


class Workers(Generic[U, R]):
    """Context manager of worker processes that call ``do`` on units, each with its own environment variables; leaving the block ends them.

    Args:
        do: called in a worker; sent there pickled, as the units are.
        environments: variables of each worker, set before it imports anything.
        begins: called here, with the number of a worker, when it is given a unit.
        again: called here when a worker died over a unit that is done again, with the unit and how it died.
        reaches: called here with the number of a worker and the share of its unit that is done, as ``Telling`` tells it.
    """

    def __init__(
        self,
        do: Callable[[U], R],
        environments: Sequence[Mapping[str, str]],
        begins: Callable[[int, U], None] = lambda number, unit: None,
        again: Callable[[U, Death], None] = lambda unit, death: None,
        reaches: Callable[[int, float], None] = lambda number, share: None,
    ) -> None:
        self._do, self._environments, self._begins, self._again, self._reaches = do, environments, begins, again, reaches
        self._running: dict[int, tuple[Any, Connection]] = {}

    def __enter__(self) -> Workers[U, R]:
        return self

    def __exit__(self, *exception: object) -> None:
        for process, connection in self._running.values():
            connection.close()
            process.terminate()
        for process, _ in self._running.values():
            process.join(GRACE)
            if process.is_alive():
                process.kill()
                process.join()

    def outcomes(self, units: Sequence[U]) -> Iterator[tuple[int, U, R | Death]]:
        """Yield number of the worker, unit and result of ``do``, in the order in which units finish; ``Death`` for a unit over which ``ATTEMPTS`` workers died."""
        queue, deaths = deque(enumerate(units)), Counter[int]()
        free, busy = deque(range(len(self._environments))), dict[Connection, tuple[int, int, U]]()
        while queue or busy:
            while queue and free:
                number, (position, unit) = free.popleft(), queue.popleft()
                busy[self._give(number, unit)] = number, position, unit
                self._begins(number, unit)
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                number, position, unit = busy.pop(connection)
                try:
                    outcome = connection.recv()
                    if isinstance(outcome, Share):
                        busy[connection] = number, position, unit
                        self._reaches(number, outcome)
                        continue
                except (EOFError, ConnectionError):
                    outcome = self._bury(number)
                    deaths[position] += 1
                    if deaths[position] < ATTEMPTS:
                        self._again(unit, outcome)
                        queue.append((position, unit))  # last, when less else is running: it may have been a lack of memory
                        free.append(number)
                        continue
                free.append(number)
                yield number, unit, outcome

    def _give(self, number: int, unit: U) -> Connection:
        if number not in self._running:
            self._running[number] = self._started(self._environments[number])
        connection = self._running[number][1]
        with contextlib.suppress(BrokenPipeError):  # it died while it had nothing to do: reading from it will say so
            connection.send(unit)
        return connection

    def _started(self, environment: Mapping[str, str]) -> tuple[Any, Connection]:
        ours, theirs = _spawning.Pipe()
        process = _spawning.Process(target=_serve, args=(theirs, imports_torchmetrics_alone()), daemon=True)
        with (
            _variables({**environment, "PYTHONSAFEPATH": "1"}),
            _interrupts_ignored(),
        ):  # a child begins with the current folder first on its path
            process.start()
        theirs.close()
        with contextlib.suppress(BrokenPipeError):
            ours.send(self._do)
        return process, ours

    def _bury(self, number: int) -> Death:
        process, connection = self._running.pop(number)
        connection.close()
        process.join()
        code = process.exitcode
        return Death(signal.Signals(-code).name if code < 0 else f"exit code {code}")


def _serve(connection: Connection, torchmetrics_alone: bool) -> None:
    """Run a worker. It receives ``do`` through the connection, so that torch is imported only after the choice of how TorchMetrics is imported, which is the parent's."""
    if torchmetrics_alone:
        import_torchmetrics_alone()
    with exit_at_once():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that a file that is being written is removed
        threading.Thread(target=_end_with_parent, daemon=True).start()
        with contextlib.suppress(EOFError, BrokenPipeError):
            do = connection.recv()
            if isinstance(do, Telling):
                do.tell = lambda share: connection.send(Share(share))
            while True:
                connection.send(do(connection.recv()))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends by itself, and nothing is being written any more


def _end_with_parent() -> None:
    """End this process when its parent ends: nobody takes an orphan's results."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _variables(environment: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Make processes that start within the block ignore Ctrl-C, which the terminal sends to all; their parent ends them."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
