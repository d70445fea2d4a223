"""Notation of values: lists as ``0,1,2``, whole numbers also as ``0-4``; and names of kinds of values in help and messages."""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import register_type

_RANGE = re.compile(r"(\d+)-(\d+)")
_LONGEST = 10_000
"""Numbers that a range may have: more are a slip of the finger, and would fill memory."""


class Numbers(list[int]):
    """Whole numbers: ``0,1,2``, ``0-4``, ``0,2,5-7``."""

    @classmethod
    def read(cls, given: Any) -> Numbers:
        """Read whole numbers from text, a number or a list of either.

        Raises:
            ValueError: something in it is no whole number.
        """
        return cls(number for item in _items(given) for number in _range(item))


class Words(list[str]):
    """Words: ``markdown,csv``."""

    @classmethod
    def read(cls, given: Any) -> Words:
        """Read words from text or a list."""
        return cls(str(item) for item in _items(given))


def _items(given: Any) -> list[Any]:
    if isinstance(given, str):
        given = [item.strip() for item in given.strip("[] ").split(",") if item.strip()]
    return list(given) if isinstance(given, list | tuple) else [given]


def _range(item: Any) -> range | tuple[int]:
    ends = _RANGE.fullmatch(item) if isinstance(item, str) else None
    if ends:
        first, last = int(ends[1]), int(ends[2])
        if last < first:
            raise ValueError(f"expected a range such as 0-4, got {item}")
        if last - first >= _LONGEST:
            raise ValueError(f"expected a range of at most {_LONGEST:,} numbers, got {item}")
        return range(first, last + 1)
    if isinstance(item, bool) or (not isinstance(item, int) and not re.fullmatch(r"[+-]?\d+", str(item))):
        raise ValueError(f"expected a whole number, got {item}")
    return (int(item),)


register_type(Numbers, list, Numbers.read)
register_type(Words, list, Words.read)


def parsed_as(kind: Any) -> Any:
    """The type with which jsonargparse reads a value of this kind."""
    if typing.get_origin(kind) in (list, tuple):
        return Numbers if typing.get_args(kind)[0] is int else Words
    return kind


def as_kind(value: Any, kind: Any) -> Any:
    """Convert a value that was read as ``parsed_as(kind)`` to ``kind``."""
    origin = typing.get_origin(kind)
    if origin not in (list, tuple):
        return value
    return origin(map(Path, value)) if typing.get_args(kind)[0] is Path else origin(value)


def metavar(kind: Any) -> str | None:
    """Placeholder of a value in help; None where the choices are shown."""
    union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    inner = [one for one in typing.get_args(kind) if one is not type(None)] if union else [kind]
    names = {int: "N", float: "X", str: "NAME", Path: "PATH", Numbers: "N,N", Words: "A,B"}
    words = [word for one in inner[1:] if typing.get_origin(one) is Literal for word in typing.get_args(one)]
    return "|".join([names[inner[0]], *words]) if inner[0] in names else None


def shown(value: Any) -> str:
    """A default as written on the command line; empty where there is nothing to show."""
    if value is None or value is False or value == "" or value == [] or value == ():
        return ""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "true" if value is True else f"{value:g}" if isinstance(value, float) else str(value)
