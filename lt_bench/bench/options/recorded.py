"""Options that the commands of caches and records name."""

from __future__ import annotations

import dataclasses
import itertools
import shlex
import typing
from pathlib import Path
from typing import Any, TypeVar

from lt_bench.bench.options.images import ImageOptions

Options = TypeVar("Options", bound=ImageOptions)


def options_in(command: str, cls: type[Options]) -> Options:
    """The options of a class that a command names, of several joined by && the first; the others as they are by default."""
    words, kinds = list(itertools.takewhile(lambda word: word != "&&", shlex.split(command))), typing.get_type_hints(cls)
    given: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        flag = f"--{field.name.replace('_', '-')}"
        if flag in words and kinds[field.name] is bool:
            given[field.name] = True
        elif flag in words[:-1]:
            usual = next((one for one in (int, float, Path) if one in (kinds[field.name], *typing.get_args(kinds[field.name]))), str)
            given[field.name] = usual(words[words.index(flag) + 1])
    return cls(**given)


def names_groups(command: str) -> bool:
    """Whether a command splits images by groups."""
    return "--group-" in command
