"""Output of a verb: tables and lines for people, or JSON for programs."""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, RenderableType

from lt_bench.core.console import page_console
from lt_bench.core.errors import printable

_NAMED = 8
"""Files that a line names."""


@dataclass(frozen=True)
class Output:
    """Output streams of a verb.

    Attributes:
        json: write one JSON document to standard output, and no text for people.
        quiet: write nothing but errors (and the JSON).
        stream: standard output, as it was before anything was redirected.
    """

    json: bool = False
    quiet: bool = False
    stream: TextIO = field(default_factory=lambda: sys.stdout)

    @property
    def console(self) -> Console:
        """The terminal; output to a file or a pipe is as wide as its tables need."""
        console = page_console()
        console.quiet = self.json or self.quiet
        return console

    def say(self, what: RenderableType) -> None:
        """Print a line, which is not wrapped, or a table, for people."""
        what = "\n".join(map(printable, what.split("\n"))) if isinstance(what, str) else what
        self.console.print(what, soft_wrap=isinstance(what, str), markup=False, highlight=False)

    def written(self, directory: Path, paths: Sequence[Path]) -> None:
        """Print the files written below a directory; of many, the first and the number of others."""
        names = ", ".join(str(path.relative_to(directory)) for path in paths[:_NAMED])
        more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
        self.say(f"wrote to {directory}: {names}{more}")

    def note(self, text: str) -> None:
        """Print a line for people on standard error."""
        Console(stderr=True, quiet=self.quiet).print(printable(text), soft_wrap=True, markup=False, highlight=False)

    def data(self, document: Any) -> None:
        """Write the outcome as JSON, for programs; NaN and infinity, which JSON does not have, are null."""
        if self.json:
            self.stream.write(json.dumps(plain(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @contextlib.contextmanager
    def in_force(self) -> Iterator[None]:
        """Within the block, drop what libraries print to standard output, if the verb writes JSON or is quiet."""
        with contextlib.redirect_stdout(io.StringIO()) if self.json or self.quiet else contextlib.nullcontext():
            yield


def plain(value: Any) -> Any:
    """Convert a value to JSON's types: NaN and infinity to null, other objects to text."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
