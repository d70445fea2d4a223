"""Destination of W&B runs, and the list of those that are there already."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lt_bench.core.files import write_text
from lt_bench.core.seals import read_json_object

LEDGER = "lt-bench-pushed.json"


@dataclass(frozen=True)
class Destination:
    """Destination of a push: a W&B project, and the local directory W&B writes under."""

    project: str = "lt-bench"
    entity: str | None = None
    online: bool = False
    directory: Path = Path()

    def key(self, id: str) -> str:  # noqa: A002
        """The ledger's name for a run at this destination."""
        return f"{'online' if self.online else 'offline'}:{self.entity or ''}/{self.project}/{id}"


@dataclass
class Ledger:
    """Ids of the W&B runs that were written by this object, and of those that were there already; kept in a file of the destination.

    Raises:
        UserError: the file is damaged.
    """

    to: Destination
    written: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._path = self.to.directory / LEDGER
        self._entries = read_json_object(self._path, "move it away to push everything again") if self._path.is_file() else {}

    def once(self, id: str, content: str, write: Callable[[], object]) -> None:  # noqa: A002
        """Write the run of this id, unless one of this content is there."""
        if self._entries.get(self.to.key(id)) == content:
            self.skipped.append(id)
            return
        write()
        self._entries[self.to.key(id)] = content
        write_text(self._path, json.dumps(self._entries, indent=1, sort_keys=True) + "\n")
        self.written.append(id)
