"""How fast an extraction goes, and what holds it back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TypeVar

from rich.console import Console

T = TypeVar("T")


class Pace:
    """Counts views and tells the time spent waiting for pixels from the rest.

    Args:
        name: what is extracted.
        totals: views of each split.
        console: where to say how far it is, or None for silence.
    """

    def __init__(self, name: str, totals: Mapping[str, int], console: Console | None) -> None:
        self.name, self.totals, self.console = name, totals, console
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
        """Views of a split that an earlier call has written."""
        self.before += views
        if views and self.console:
            self.console.print(
                f"{self.name}: {split}, {views:,} of {self.totals[split]:,} views are there already", highlight=False, soft_wrap=True
            )

    def advance(self, split: str, views: int) -> None:
        """So many views have gone to the backbone; says so every few seconds."""
        self.views += views
        now = time.perf_counter()
        if self.console and now - self.said > (2 if self.console.is_terminal else 30):
            self.said = now
            done, total = self.before + self.views, sum(self.totals.values())
            rate = self.views / (now - self.begun)
            self.console.print(
                f"{self.name}: {split}, {done:,}/{total:,} views, {rate:.0f} a second, {(total - done) / rate:.0f} s left",
                highlight=False,
                soft_wrap=True,
            )

    def words(self, decodes: bool) -> str:
        """What was done in which time; with ``decodes``, whether decoding or the backbone limits."""
        elapsed = time.perf_counter() - self.begun
        share = self.waited / elapsed if elapsed else 0.0
        limit = (
            f"decoding limits ({share:.0%} of the time waiting for it; try more --workers)"
            if share > 0.3
            else f"the backbone limits ({share:.0%} of the time waiting for images)"
        )
        return f"{self.name}: {self.views:,} views in {elapsed:.1f} s, {self.views / max(elapsed, 1e-9):.0f} a second" + (
            f"; {limit}" if decodes and self.views else ""
        )
