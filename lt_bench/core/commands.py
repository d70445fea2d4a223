"""Words that commands in messages repeat, so that what they advise does what was asked for."""

from __future__ import annotations

import shlex
from pathlib import Path

RESULTS = Path("results")
"""Directory of the records where none is named."""


def results_words(results: Path | str) -> list[str]:
    """``--results DIR``; nothing for the usual place."""
    return [] if Path(results) == RESULTS else ["--results", str(results)]


def with_results(command: str, results: Path | str) -> str:
    """A command with the place of its records added."""
    return " ".join([command, *map(shlex.quote, results_words(results))])
