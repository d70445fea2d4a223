"""Conversion of given values to the types that a strategy or a suite declares. Free of torch."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from lt_bench.core.errors import UserError
from lt_bench.strategies.entry import Entry


def typed(entry: Entry, given: dict[str, Any], where: str) -> dict[str, Any]:
    """Hyper-parameters as the strategy's types: 1 as 1.0 where it takes a float.

    Raises:
        UserError: a name that the strategy does not have, or a value that does not fit.
    """
    entry.resolve("", None, given)
    parser = ArgumentParser(exit_on_error=False)
    for name, kind in entry.types().items():
        parser.add_argument(f"--{name}", type=kind)
    return parsed(parser, given, f"{where}: {entry.name}").as_dict()


def parsed(parser: ArgumentParser, document: dict[str, Any], where: str) -> Namespace:
    """A document as what a parser declares.

    Args:
        parser: with a name and type for every field.
        document: values by name.
        where: origin of the document, for messages.

    Raises:
        UserError: a value that does not fit.
    """
    try:
        return parser.parse_object(document, defaults=False)
    except ArgumentError as error:
        message = " ".join(str(error).replace("Parser key ", "").replace("<class '", "").replace("'>", "").split())
        raise UserError(f"{where}: {message}") from None
