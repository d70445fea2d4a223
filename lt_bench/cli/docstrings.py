"""Help texts from docstrings of the house's form (Google's): the entries under ``Args:`` or ``Attributes:``."""

from __future__ import annotations

import inspect
import re

_SECTION = re.compile(r"^(?:Args|Attributes):\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^(\w+)(?: \([^)]*\))?: ?(.*)")


def explained(docstring: str | None) -> dict[str, str]:
    """Text of each name that a docstring explains, in one line: ``{"epsilon": "smoothing, 0 to 1."}``."""
    texts: dict[str, str] = {}
    for section in _SECTION.findall(inspect.cleandoc(docstring or "")):
        name = ""
        for line in inspect.cleandoc(f"\n{section}").splitlines():
            entry = _ENTRY.match(line)
            if entry:
                name, texts[entry[1]] = entry[1], entry[2]
            elif name and line.strip():
                texts[name] += f" {line.strip()}"
    return texts


def explained_by(cls: type) -> dict[str, str]:
    """Text of each name that the docstrings of a class and of its bases explain."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        texts |= explained(base.__doc__) if "__doc__" in vars(base) else {}
    return texts
