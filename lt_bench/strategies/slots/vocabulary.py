"""The vocabulary as a whole: entries by slot and name, compositions read from text and written to it. Free of torch until an entry is built."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lt_bench.core.errors import UserError
from lt_bench.core.names import object_at, suggestion
from lt_bench.strategies.hyper import Hyperparameter
from lt_bench.strategies.source import class_facts, declarations

NOT_ENTRIES = {"__init__", "base", "vocabulary", "cross_entropy"}
TITLES = {
    "sampler": "how batches are drawn",
    "initial_head": "the head before the first step",
    "classifier": "how logits z are made of features, weight and bias; the linear layer where none is named",
    "trainable": "what is trained; weight and bias where none is named",
    "transform": "T: what the loss sees instead of the logits",
    "target": "q: the distribution that the kernel is minimised towards; one-hot where none is named",
    "kernel": "loss of one sample; softmax cross-entropy where none is named",
    "weight": "w: how much the loss of a sample counts; 1 where none is named",
    "regulariser": "a term of the parameters alone, beside weight decay",
    "projection": "change of the parameters after a step or an epoch",
    "at_inference": "adjustment of the fitted head, folded into weight and bias",
}
"""Slots in the order of the formula."""
ATTRIBUTES = {slot: "weighting" if slot == "weight" else slot for slot in TITLES}
"""Attribute of a strategy that holds the entry of a slot; ``weight`` is the head's."""


@dataclass(frozen=True)
class EntryOfSlot:
    """An entry as its source says it."""

    slot: str
    name: str
    class_path: str
    doc: str
    parameters: tuple[Hyperparameter, ...]

    @property
    def signature(self) -> str:
        """``smooth(epsilon=0.1, convention=torch)``."""
        values = ", ".join(f"{one.name}={one.default}" for one in self.parameters)
        return f"{self.name}({values})" if values else self.name


@cache
def entries() -> dict[tuple[str, str], EntryOfSlot]:
    """All entries of the files beside this one, by slot and name."""
    table: dict[tuple[str, str], EntryOfSlot] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in NOT_ENTRIES:
            table |= {(one.slot, one.name): one for one in _read(path)}
    return table


def known(slot: str) -> tuple[str, ...]:
    """Names of the entries of a slot."""
    return tuple(name for of, name in entries() if of == slot)


def entry(slot: str, text: str) -> Any:
    """The declaration that ``name``, ``name(0.5)`` or ``name(tau=0.5)`` means; for the class of the user's own at a dotted path too.

    Raises:
        UserError: not such a text, an unknown entry or parameter, or a value outside its range.
    """
    name, values, named = _call(slot, text)
    if "." in name:
        return object_at(name)(*values, **named)
    known_entry = _checked(slot, name, values, named)[0]
    return object_at(known_entry.class_path)(*values, **named)


def canonical(slot: str, text: str) -> str:
    """One text for one entry: its first parameter and those that differ from their defaults, by name and in the order of their declaration.

    Raises:
        UserError: as ``entry``, before anything is imported.
    """
    name, values, named = _call(slot, text)
    if "." in name:
        return ast.unparse(ast.parse(text.strip(), mode="eval"))
    known_entry, given = _checked(slot, name, values, named)
    shown = [
        f"{one.attribute}={given.get(one.attribute, one.default)}"
        for number, one in enumerate(known_entry.parameters)
        if number == 0 or given.get(one.attribute, one.default) != one.default
    ]
    return f"{name}({', '.join(shown)})" if shown else name


def _call(slot: str, text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Name and arguments of an entry's text."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
        values, named = [_value(one) for one in call.args], {one.arg: _value(one.value) for one in call.keywords if one.arg}
        return ast.unparse(call.func), values, named
    except (SyntaxError, ValueError):
        raise UserError(f"{slot} is {text!r}, expected the name of an entry with its parameters, e.g. log_prior(tau=1.0)") from None


def _checked(slot: str, name: str, values: list[Any], named: dict[str, Any]) -> tuple[EntryOfSlot, dict[str, Any]]:
    """The entry and its parameters by name."""
    if (slot, name) not in entries():
        raise UserError(f"{slot} has no entry {name!r}{suggestion(name, known(slot))}; `lt-bench list slots` shows the vocabulary")
    known_entry = entries()[slot, name]
    declared = {one.attribute: one for one in known_entry.parameters}
    if len(values) > len(declared):
        raise UserError(f"{slot} {name} takes {', '.join(declared) or 'no parameters'}, got {len(values)} values")
    given = dict(zip(declared, values, strict=False)) | named
    for parameter, value in given.items():
        if parameter not in declared:
            raise UserError(
                f"{slot} {name} has no parameter {parameter!r}{suggestion(parameter, declared)}; it has {', '.join(declared) or 'none'}"
            )
        declared[parameter].check(name, value)
        given[parameter] = float(value) if declared[parameter].type is float else value
    return known_entry, given


def _value(node: ast.expr) -> Any:
    """A literal, or a bare word as text."""
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _read(path: Path) -> Iterator[EntryOfSlot]:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    facts: dict[str, dict[str, Any]] = {}
    parameters: dict[str, dict[str, Hyperparameter]] = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        own = class_facts(node, path, ("slot", "name"))
        inherited = [base for base in bases if base in facts]
        facts[node.name] = {**(facts[inherited[0]] if inherited else {}), **own}
        parameters[node.name] = {**(parameters[inherited[0]] if inherited else {}), **declarations(node, path)}
        if "name" in own:
            module = f"lt_bench.strategies.slots.{path.stem}.{node.name}"
            doc = ast.get_docstring(node) or ""
            yield EntryOfSlot(facts[node.name]["slot"], own["name"], module, doc, tuple(parameters[node.name].values()))
