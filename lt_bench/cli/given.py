"""Where the options of a command were given, so that a refusal names the file or the variable, and an option that stands twice on the line is refused."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lt_bench.cli import environment
from lt_bench.cli.values import Numbers, Words, parsed_as
from lt_bench.core.commands import word
from lt_bench.core.errors import UserError

_SWITCHES = {"--json", "--quiet", "--verbose", "--traceback", "--help", "--help-all", "--print_config"}
"""Options that say the same however often they are given."""
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

    def source(self, option: str) -> str:
        """The file or the variable that an option comes from; empty where it stands on the line, or nowhere."""
        key = option.removeprefix("--").replace("-", "_")
        key = {"strategy": "strategy.name"}.get(key, re.sub(r"^recipe\.", "recipe_fields.", key))
        if any(_option_of(flag) in (option, f"--{key}") for flag in self.flags):
            return ""
        file = next((path for path in reversed(list(self.files)) if _holds(self.files[path], key)), "")
        variables = [environment.variable(self.verb, one) for one in (key, key.removesuffix(".name"))]
        return file or next((name for name in variables if name in os.environ), "")

    def named(self, message: str, *options: str) -> str:
        """A message that begins with the source of the options, or of the first option that it names; as it is where they have none, or several."""
        found = _OPTION.search(message)
        sources = {self.source(option) for option in options or ([found[0]] if found else [])}
        source = sources.pop() if len(sources) == 1 else ""
        return f"{source}: {message}" if source and source not in message else message

    @contextmanager
    def naming(self, *options: str) -> Iterator[None]:
        """Errors within the block name the source of the options."""
        try:
            yield
        except UserError as error:
            raise UserError(self.named(str(error), *options)) from None


def refuse_repeated(verb: str, flags: Sequence[str], hints: Mapping[str, Any], several: bool) -> None:
    """Refuse an option that stands twice on the line, of which the parser would take the last without a word.

    Args:
        verb: its name.
        flags: the words of the line, without the files of options.
        hints: types of the verb's options.
        several: whether it takes several strategies.

    Raises:
        UserError: names the option, and what to write in its place.
    """
    for option, values in _values(flags).items():
        if len(values) > 1 and option not in _SWITCHES:
            shown = option.replace("--strategy.name", "--strategy")
            lists = several if shown == "--strategy" else parsed_as(hints.get(shown[2:].replace("-", "_"))) in (Numbers, Words)
            instead = f"write {shown} {word(','.join(dict.fromkeys(values)))}" if lists else "give it once"
            raise UserError(f"{verb}: {shown} stands {len(values)} times on the line ({_joined(values)}); {instead}")


def _values(flags: Sequence[str]) -> dict[str, list[str]]:
    """The values of every option on the line."""
    values: dict[str, list[str]] = {}
    for flag, after in itertools.pairwise([*flags, "--"]):
        if flag == "--":
            break
        if flag.startswith("--"):
            value = flag.partition("=")[2] if "=" in flag else "" if after.startswith("--") else after
            values.setdefault(_option_of(flag), []).append(value)
    return values


def _joined(values: Iterable[str]) -> str:
    return ", ".join(value or "no value" for value in values)


def _option_of(flag: str) -> str:
    return flag.partition("=")[0]


def _holds(document: Mapping[str, Any], key: str) -> bool:
    if key in document:
        return True
    first, _, rest = key.partition(".")
    inner = document.get(first)
    return bool(rest) and isinstance(inner, Mapping) and _holds(inner, rest)
