"""Progress of a command: one line that changes on a terminal, elsewhere a line every ten seconds; nothing from Python, where no command shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from shutil import get_terminal_size
from threading import Event, RLock, Thread
from time import monotonic
from typing import TextIO, TypeVar

from lt_bench.core.errors import printable

T = TypeVar("T")
EVERY, OFTEN = 10.0, 0.5
"""Seconds between two lines, and between two updates of the line on a terminal."""
WIDTH = 79


@dataclass(eq=False)
class Work:
    """A long task whose progress is shown.

    Attributes:
        what: the items that are counted (``records read``), or the task itself, in words.
        total: number of items; None where it is not known.
        done: number of items that are done.
        before: number of items that were done before the task began, part of ``done``.
        begun: finished parts of items in progress, added up.
        began: start of the task, seconds of the monotonic clock.
        seconds_left: estimates the time left where items do not take equally long; None: by the pace so far.
        later: further items that follow at the same pace; only the time left counts them.
    """

    what: str
    total: int | None = None
    done: int = 0
    before: int = 0
    begun: float = 0.0
    began: float = field(default_factory=monotonic)
    seconds_left: Callable[[], float] | None = None
    later: int = 0
    _paced: tuple[float, float] = (0.0, 0.0)  # the count when `time` last saw it change, and the clock then

    @property
    def counted(self) -> str:
        """The count so far, the total and the things counted: `1,200 of 5,000 records read`."""
        if self.total is None:
            return f"{self.done:,} {self.what}" if self.done else self.what
        return f"{self.done:,} of {self.total:,} {self.what}"

    @property
    def time(self) -> str:
        """The time left at the pace so far, counted down between items; empty before any progress; without a total, the time spent."""
        now = monotonic()
        if self.total is None:
            return str(timedelta(seconds=round(now - self.began)))
        here = self.done - self.before + self.begun
        if not here:
            return ""
        if here != self._paced[0]:
            self._paced = here, now
        pace = (self._paced[1] - self.began) / here
        usual = pace * (self.total + self.later - self.before - here) - (now - self._paced[1])
        return f"{timedelta(seconds=round(max(0.0, usual if self.seconds_left is None else self.seconds_left())))} left"

    def line(self, width: int = WIDTH) -> str:
        """The progress in one line; where it is longer than ``width``, the text is cut, never the time."""
        text, time = printable(self.counted), f", {self.time}".removesuffix(", ")
        space = max(1, width - len(time))
        return (text if len(text) <= space else f"{text[: space - 1]}…") + time


class _Shown:
    """The progress line of the latest task, written by a thread that the first task starts."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.terminal = stream, stream.isatty()
        self.works: list[Work] = []
        self._ended, self._lock, self._thread, self._on_screen = Event(), RLock(), None, False

    def begin(self, work: Work) -> None:
        self.works.append(work)
        if self._thread is None:
            self._thread = Thread(target=self._say_lines, daemon=True)
            self._thread.start()

    def end(self, work: Work) -> None:
        with self._lock:
            self.works.remove(work)
            self._erase()

    def close(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._erase()  # of work that Ctrl-C broke off

    def _say_lines(self) -> None:
        while not self._ended.wait(OFTEN if self.terminal else EVERY):
            with self._lock:
                if self.works:
                    self._erase()
                    width = min(WIDTH, get_terminal_size().columns - 1) if self.terminal else WIDTH
                    self.stream.write(self.works[-1].line(width) + ("" if self.terminal else "\n"))
                    self.stream.flush()
                    self._on_screen = self.terminal

    def _erase(self) -> None:
        if self._on_screen:
            self.stream.write("\r\x1b[2K")
            self.stream.flush()
            self._on_screen = False


_shown: _Shown | None = None


@contextmanager
def shown(stream: TextIO) -> Iterator[None]:
    """Within the block, `steps` and `doing` are shown on a stream."""
    global _shown
    before, _shown = _shown, _Shown(stream)
    try:
        yield
    finally:
        _shown.close()
        _shown = before


@contextmanager
def doing(what: str, total: int | None = None, before: int = 0) -> Iterator[Work]:
    """Show a task within the block, with the time spent; with a ``total``, as `steps` does: the block then counts ``Work.done`` up from ``before``."""
    work = Work(what, total, before, before)
    with showing(work):
        yield work


def steps(items: Iterable[T], what: str) -> Iterator[T]:
    """The items; shows how many are done, and the time left where there is a number of them: "1,200 of 5,000 records read, 0:00:12 left"."""
    work = Work(what, len(items) if isinstance(items, Sized) else None)
    with showing(work):
        for item in items:
            yield item
            work.done += 1


@contextmanager
def showing(work: Work) -> Iterator[None]:
    """Show the progress of a task within the block; the block counts ``work.done`` itself."""
    screen = _shown
    if screen is None:
        yield
        return
    screen.begin(work)
    try:
        yield
    finally:
        screen.end(work)
