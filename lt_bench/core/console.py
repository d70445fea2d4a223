"""Console on which tables are printed."""

from __future__ import annotations

from rich.console import Console

_FILE_WIDTH = 240


def page_console() -> Console:
    """The terminal; where the output goes to a file or a pipe, as wide as the tables want to be."""
    console = Console()
    return console if console.is_terminal else Console(width=_FILE_WIDTH)
