"""Speed of an extraction, and its bottleneck."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console

T = TypeVar("T")


@dataclass(frozen=True)
class Spent:
    """Work of one process: views, the seconds that it took, and those of them spent waiting for pixels."""

    views: int
    seconds: float
    waited: float


class Pace:
    """Counts views and tells the time spent waiting for pixels from the rest.

    Args:
        name: what is extracted.
        totals: views of each split.
        console: where to say how far it is, or None for silence.
        written: views that all processes have finished, earlier calls included, where there are several; None for this one alone.
    """

    def __init__(self, name: str, totals: Mapping[str, int], console: Console | None, written: Callable[[], int] | None = None) -> None:
        self.name, self.totals, self.console, self.written = name, totals, console, written
        self.begun, self.waited, self.views, self.before = time.perf_counter(), 0.0, 0, 0
        self.said = self.begun

    def timed(self, source: Iterator[T]) -> Iterator[T]:
        """The items of a source, the time until each is there counted as waiting."""
        while True:
            asked = time.perf_counter()
            try:
                item = next(source)
            except StopIteration:
                return
            self.waited += time.perf_counter() - asked
            yield item

    def skip(self, split: str, views: int) -> None:
        """Count views of a split that an earlier call has written."""
        self.before += views
        if views and self.console:
            self.console.print(
                f"{self.name}: {split}, {views:,} of {self.totals[split]:,} views are there already",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    def advance(self, split: str, views: int) -> None:
        """Count views that have gone to the backbone; prints the progress every few seconds."""
        self.views += views
        now = time.perf_counter()
        if self.console and now - self.said > (2 if self.console.is_terminal else 30):
            self.said = now
            done, total = self.written() if self.written else self.before + self.views, sum(self.totals.values())
            rate = (done - self.before) / (now - self.begun)
            left = f", {rate:.0f} a second, {(total - done) / rate:.0f} s left" if rate > 0 else ""
            self.console.print(f"{self.name}: {split}, {done:,}/{total:,} views{left}", markup=False, highlight=False, soft_wrap=True)

    def spent(self) -> Spent:
        """Work of this process up to now."""
        return Spent(self.views, time.perf_counter() - self.begun, self.waited)


def summary(name: str, spent: Sequence[Spent], decodes: bool) -> str:
    """Line with the views and seconds of all processes; with ``decodes``, whether decoding or the backbone limits."""
    views, elapsed = sum(one.views for one in spent), max(one.seconds for one in spent)
    share = sum(one.waited for one in spent) / max(1e-9, sum(one.seconds for one in spent))
    limit = (
        f"decoding limits ({share:.0%} of the time waiting for it; try more --workers)"
        if share > 0.3
        else f"the backbone limits ({share:.0%} of the time waiting for images)"
    )
    processes = f" on {len(spent)} processes" if len(spent) > 1 else ""
    return f"{name}: {views:,} views in {elapsed:.1f} s{processes}, {views / max(elapsed, 1e-9):.0f} a second" + (
        f"; {limit}" if decodes and views else ""
    )
