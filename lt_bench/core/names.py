"""Names that a user writes: the nearest known one, and what stands at a dotted path."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lt_bench.core.errors import FAILURES_OF_CODE, UserError, printable
from lt_bench.core.lean_import import import_torchmetrics_whole


def suggestion(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'los'?)``, all that are as near as the nearest, or nothing."""
    ratios = {one: difflib.SequenceMatcher(None, one, word).ratio() for one in difflib.get_close_matches(word, list(known), n=5)}
    nearest = sorted(one for one, ratio in ratios.items() if ratio == max(ratios.values()))
    return f" (did you mean {' or '.join(map(repr, nearest))}?)" if nearest else ""


def counted(count: int, one: str, several: str = "") -> str:
    """``1 class``, ``1,204 classes``; ``several`` is by default the word with an s."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def span(first: int, last: int) -> str:
    """``12 to 40``, or the one number."""
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def spreadsheet_text(text: str) -> str:
    """Text of a cell that no spreadsheet takes for a formula: ``=HYPERLINK(...)`` gets an apostrophe before it; numbers and ranges of them stay."""
    text = printable(text)
    begins = text.startswith(("=", "@")) or (text.startswith(("+", "-")) and any(sign in text for sign in "(|!=@'\""))
    return f"'{text}" if begins else text


def search_current_folder() -> None:
    """Let the module of a dotted name be found in the current folder, after every other place: a csv.py that lies there is never taken for Python's."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)


def word_after(words: Sequence[str], flag: str) -> str | None:
    """The word after a flag of a command; None where it is not there."""
    return words[words.index(flag) + 1] if flag in words[:-1] else None


def object_at(dotted: str) -> Any:
    """The object at ``package.module.Name``; its module is imported.

    Raises:
        UserError: no such module or name, or the module cannot be imported.
    """
    module_name, _, name = dotted.rpartition(".")
    search_current_folder()
    if not dotted.startswith("lt_bench."):
        import_torchmetrics_whole()
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, SyntaxError, *FAILURES_OF_CODE) as error:  # finding a module imports the packages above it
        raise UserError(
            f"{dotted}: module {module_name!r} cannot be found ({' '.join(str(error).split())}); is it on PYTHONPATH or in the current folder?"
        ) from None
    if spec is None or spec.origin is None:
        raise UserError(f"{dotted}: module {module_name!r} cannot be found; is it on PYTHONPATH or in the current folder?")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError, *FAILURES_OF_CODE) as error:
        raise UserError(f"{dotted}: {spec.origin} cannot be imported ({type(error).__name__}: {' '.join(str(error).split())})") from None
    if not hasattr(module, name):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise UserError(f"{dotted}: {spec.origin} has no class {name!r}{suggestion(name, classes)}")
    return getattr(module, name)
