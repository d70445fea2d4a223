"""``lt-bench list slots``: the vocabulary of the formula, read without importing torch."""

from __future__ import annotations

from typing import Any

from lt_bench.cli.output import Output
from lt_bench.core.errors import UserError
from lt_bench.core.names import suggestion
from lt_bench.strategies.hyper import Hyperparameter, type_name
from lt_bench.strategies.slots.vocabulary import TITLES, EntryOfSlot, entries


def slot_rows() -> list[dict[str, Any]]:
    """Every slot with its title and its entries."""
    return [
        {"slot": slot, "what it is": title, "entries": ", ".join(one.signature for one in _entries_of(slot))}
        for slot, title in TITLES.items()
    ]


def slot_facts(slot: str) -> dict[str, Any]:
    """One slot with its entries in full.

    Raises:
        UserError: no such slot.
    """
    described = [
        {"name": one.name, "signature": one.signature, "class_path": one.class_path, "doc": one.doc, "parameters": list(map(_facts, one.parameters))}
        for one in _entries_of(_known(slot))
    ]  # fmt: skip
    return {"slot": slot, "what it is": TITLES[slot], "entries": described}


def show_slot(slot: str, output: Output) -> None:
    """One slot with its entries in full, for people.

    Raises:
        UserError: no such slot.
    """
    output.say(f"{_known(slot)}: {TITLES[slot]}\n")
    for one in _entries_of(slot):
        output.say(f"{one.signature}   ({one.class_path})")
        output.say("\n".join(f"    {line}".rstrip() for line in one.doc.splitlines()))
        for parameter in one.parameters:
            notes = "; ".join(filter(None, (type_name(parameter.type), parameter.range_text, f"default: {parameter.default}")))
            output.say(f"    {parameter.attribute}: {parameter.help + ' ' if parameter.help else ''}({notes})")
        output.say("")
    example = next((one for one in _entries_of(slot) if one.parameters), _entries_of(slot)[0]).signature
    output.say(f'lt-bench run --strategy compose --dataset cifar100_lt --strategy.{slot} "{example}"; one of your own: docs/slots.md')


def _known(slot: str) -> str:
    if slot not in TITLES:
        holders = [of for of, name in entries() if name == slot]
        hint = f"; it is an entry of {', '.join(holders)}" if holders else suggestion(slot, TITLES)
        raise UserError(f"there is no slot {slot!r}{hint}; the slots are {', '.join(TITLES)}")
    return slot


def _entries_of(slot: str) -> list[EntryOfSlot]:
    return [one for (of, _), one in entries().items() if of == slot]


def _facts(parameter: Hyperparameter) -> dict[str, Any]:
    facts = {"name": parameter.attribute, "type": type_name(parameter.type), "default": parameter.default}
    return facts | {"low": parameter.low, "high": parameter.high, "help": parameter.help}
