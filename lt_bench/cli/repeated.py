"""An option that stands twice on the line, which is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lt_bench.cli.values import Numbers, Words, parsed_as
from lt_bench.core.commands import word
from lt_bench.core.errors import UserError

_SWITCHES = {"--json", "--quiet", "--verbose", "--traceback", "--help", "--help-all", "--print_config"}
"""Options that say the same however often they are given."""


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
    for option, values in values_on_line(flags).items():
        if len(values) > 1 and option not in _SWITCHES:
            shown = option.replace("--strategy.name", "--strategy")
            lists = several if shown == "--strategy" else parsed_as(hints.get(shown[2:].replace("-", "_"))) in (Numbers, Words)
            instead = f"write {shown} {word(','.join(dict.fromkeys(values)))}" if lists else "give it once"
            raise UserError(f"{verb}: {shown} stands {len(values)} times on the line ({_joined(values)}); {instead}")


def values_on_line(flags: Sequence[str]) -> dict[str, list[str]]:
    """The values of every option on the line, in order; empty where none stands after it."""
    values: dict[str, list[str]] = {}
    for flag, after in itertools.pairwise([*flags, "--"]):
        if flag == "--":
            break
        if flag.startswith("--"):
            value = flag.partition("=")[2] if "=" in flag else "" if after.startswith("--") else after
            values.setdefault(flag.partition("=")[0], []).append(value)
    return values


def _joined(values: Iterable[str]) -> str:
    return ", ".join(value or "no value" for value in values)
