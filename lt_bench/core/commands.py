"""Options of a command as words for the commands that messages advise, so that these do what was asked for."""

from __future__ import annotations

import shlex
from pathlib import Path

RESULTS = Path("results")
"""Directory of the records where none is named."""


def text(value: object) -> str:
    """A value of an option as a command gives it back: of a number all digits that tell it from others."""
    return repr(float(value)).removesuffix(".0") if isinstance(value, float) else str(value)


def word(value: object) -> str:
    """A value as one word of a command line, quoted where a shell would split it or put something else in its place."""
    return shlex.quote(text(value))


def results_words(results: Path | str) -> list[str]:
    """``--results DIR``; nothing for the usual place."""
    return [] if Path(results) == RESULTS else ["--results", str(results)]


def with_results(command: str, results: Path | str) -> str:
    """A command with the place of its records added."""
    return " ".join([command, *map(word, results_words(results))])
