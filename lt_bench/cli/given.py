"""Where the options of a command were given, so that a refusal names the file or the variable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lt_bench.cli import environment
from lt_bench.cli.repeated import values_on_line
from lt_bench.core.errors import UserError

_OPTION = re.compile(r"--[\w.-]+")


@dataclass(frozen=True)
class Given:
    """The options of a command by their sources.

    Attributes:
        verb: its name.
        flags: the words of the line.
        files: what each YAML file holds, by its path; of several the later is in force.
    """

    verb: str
    flags: Sequence[str]
    files: Mapping[str, Mapping[str, Any]]

    def source(self, option: str, said: str = "") -> str:
        """The file or the variable that an option comes from; empty where it stands on the line, or nowhere.

        Of several it is the one in force, unless ``said``, a refusal, ends with the value of another: the parser checks them all.
        """
        found = self._sources(option)
        refused = (source for source, value in found if any(said.endswith(f", got {one}") for one in _alone(value)))
        return next(refused, found[0][0] if found else "")

    def _sources(self, option: str) -> list[tuple[str, Any]]:
        """The sources of an option with its value in each, the one in force first; the line is ""."""
        key = option.removeprefix("--").replace("-", "_")
        # what people write as --strategy and --recipe.X a document holds as strategy.name and recipe_fields.X
        key = {"strategy": "strategy.name"}.get(key, re.sub(r"^recipe\.", "recipe_fields.", key))
        line = [value for flag, values in values_on_line(self.flags).items() if flag in (option, f"--{key}") for value in values]
        files = [(path, value) for path, document in reversed([*self.files.items()]) if (value := _value(document, key)) is not None]
        variables = [environment.variable(self.verb, one) for one in dict.fromkeys((key, key.removesuffix(".name")))]
        return [*(("", value) for value in line), *files, *((name, os.environ[name]) for name in variables if name in os.environ)]

    def named(self, message: str, *options: str) -> str:
        """A message that begins with the source of the options, or of the first option that it names; as it is where they have none, or several."""
        found = _OPTION.search(message)
        sources = {self.source(option, message) for option in options or ([found[0]] if found else [])}
        source = sources.pop() if len(sources) == 1 else ""
        return f"{source}: {message}" if source and source not in message else message

    @contextmanager
    def naming(self, *options: str) -> Iterator[None]:
        """Errors within the block name the source of the options."""
        try:
            yield
        except UserError as error:
            raise UserError(self.named(str(error), *options)) from None


def _alone(value: Any) -> list[Any]:
    """A value, and where it is a list, in YAML or with commas, each one in it."""
    return [value, *(value if isinstance(value, list) else str(value).split(","))]


def _value(document: Mapping[str, Any], key: str) -> Any:
    """The value at a key such as ``strategy.lr``; None where there is none."""
    if key in document:
        return document[key]
    first, _, rest = key.partition(".")
    inner = document.get(first)
    return _value(inner, rest) if rest and isinstance(inner, Mapping) else None
