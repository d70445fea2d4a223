"""The vocabulary as a whole: entries by slot and name, compositions read from text and written to it. Free of torch until an entry is built."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lt_bench.core.errors import UserError
from lt_bench.core.names import object_at, suggestion
from lt_bench.features.sampler_names import SamplerEntry, sampler_entries
from lt_bench.strategies.hyper import Hyperparameter, type_name
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
COMPOSE = "compose"
"""Name of the strategy whose hyper-parameters are the slots."""
DEFAULTS = {"sampler": "instance", "initial_head": "joint"}
"""Slots that are never empty."""
ATTRIBUTES = {slot: "weighting" if slot == "weight" else slot for slot in TITLES}
"""Attribute of a strategy that holds the entry of a slot; ``weight`` is the head's."""


_PLACE = re.compile(r"(?<=[(,=])\s*([^\s,()='\"]*[:/.][^\s,()='\"]*)\s*(?=[,)])")
"""A parameter with a dot, a colon or a slash: a number, or the name of a long tail or file, which stands without quotes."""


@dataclass(frozen=True)
class EntryOfSlot:
    """The description of an entry, read from its source.

    Attributes:
        slot: the slot that it fills.
        name: of the entry; the dotted path of one of the user's own.
        class_path: dotted path of its class.
        doc: docstring, with formula and source.
        parameters: in the order in which their values may be given.
        stackable: whether it also holds for a stack of heads, as all entries beside this file do.
    """

    slot: str
    name: str
    class_path: str
    doc: str
    parameters: tuple[Hyperparameter, ...]
    stackable: bool = True

    @property
    def signature(self) -> str:
        """``smooth(epsilon=0.1, convention=torch)``."""
        values = ", ".join(f"{one.name}={one.default}" for one in self.parameters)
        return f"{self.name}({values})" if values else self.name


@cache
def entries() -> dict[tuple[str, str], EntryOfSlot]:
    """All samplers, and all entries of the files beside this one, by slot and name."""
    table = {("sampler", name): _sampler(one) for name, one in sampler_entries().items()}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in NOT_ENTRIES:
            table |= {(one.slot, one.name): one for one in _read(path)}
    return table


def known(slot: str) -> tuple[str, ...]:
    """Names of the entries of a slot."""
    return tuple(name for of, name in entries() if of == slot)


def entry(slot: str, text: str) -> Any:
    """The entry that a text means: ``name``, ``name(0.5)``, ``name(tau=0.5)`` or, for the user's own, ``my_file.MyTransform(0.5)``.

    Raises:
        UserError: the text has another form, the entry or a parameter is unknown, or a value is outside its range.
    """
    described, given = arguments(slot, text)
    return object_at(described.class_path)(**given)


def described(slot: str, text: str) -> EntryOfSlot:
    """The description of the entry that a text names; an entry of the user's own is imported.

    Raises:
        UserError: as ``entry``.
    """
    return arguments(slot, text)[0]


def canonical(slot: str, text: str) -> str:
    """The canonical text of an entry: its first parameter and those that differ from their defaults, by name, in the order of declaration.

    Raises:
        UserError: as ``entry``; nothing is imported but the user's own file.
    """
    return written_text(*arguments(slot, text))


def written_text(described: EntryOfSlot, given: dict[str, Any]) -> str:
    """The canonical text of an entry with these parameters."""
    values = {one.attribute: given.get(one.attribute, one.default) for one in described.parameters}
    shown = [
        f"{one.attribute}={values[one.attribute]}"
        for number, one in enumerate(described.parameters)
        if (number == 0 or values[one.attribute] != one.default) and values[one.attribute] is not inspect.Parameter.empty
    ]
    return f"{described.name}({', '.join(shown)})" if shown else described.name


def _call(slot: str, text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Name and arguments of an entry's text."""
    try:
        node = ast.parse(_PLACE.sub(_quoted, text.strip()), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
        values, named = [_value(one) for one in call.args], {one.arg: _value(one.value) for one in call.keywords if one.arg}
        return ast.unparse(call.func), values, named
    except (SyntaxError, ValueError):
        raise UserError(f"{slot} is {text!r}, expected the name of an entry with its parameters, e.g. log_prior(tau=1.0)") from None


def _quoted(match: re.Match[str]) -> str:
    try:
        float(match[1])
    except ValueError:
        return repr(match[1])
    return match[0]


def arguments(slot: str, text: str) -> tuple[EntryOfSlot, dict[str, Any]]:
    """The entry that a text names, and the parameters that it gives, by name.

    Raises:
        UserError: as ``entry``.
    """
    name, values, named = _call(slot, text)
    if "." not in name and (slot, name) not in entries():
        raise UserError(
            f"{slot} has no entry {name!r}{suggestion(name, known(slot))}; `lt-bench list slots {slot}` shows them, and one of your own is my_file.MyClass"
        )
    described = _own(slot, name) if "." in name else entries()[slot, name]
    declared = {one.attribute: one for one in described.parameters}
    if len(values) > len(declared):
        raise UserError(f"{slot} {name} takes {', '.join(declared) or 'no parameters'}, got {len(values)} values")
    given = _by_place(f"{slot} {name}", declared, values) | named
    for parameter, value in given.items():
        if parameter not in declared:
            raise UserError(
                f"{slot} {name} has no parameter {parameter!r}{suggestion(parameter, declared)}; it has {', '.join(declared) or 'none'}"
            )
        kind = declared[parameter].type
        if not _fits(kind, value):
            raise UserError(f"{slot} {name}: {parameter} is {value!r}, expected {type_name(kind)}")
        declared[parameter].check(name, value)
        given[parameter] = float(value) if kind is float else value
    return described, given


def _by_place(owner: str, declared: dict[str, Hyperparameter], values: list[Any]) -> dict[str, Any]:
    """Positional values by parameter name, in order; a word or a tuple skips parameters that take only numbers."""
    left, given = list(declared), {}
    for value in values:
        if not left:
            raise UserError(f"{owner}: no parameter is left for {value!r}; give values by name: {', '.join(declared)}")
        fitting = [name for name in left if not isinstance(value, str | tuple) or _fits(declared[name].type, value)]
        name = (fitting or left)[0]
        given[name], left = value, left[left.index(name) + 1 :]
    return given


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value is of a plain type; literals and tuples are checked by their declaration."""
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return not isinstance(kind, type) or isinstance(value, kind)


def _own(slot: str, path: str) -> EntryOfSlot:
    """The description of an entry of the user's own, from its class."""
    cls = object_at(path)
    if slot == "sampler" and callable(getattr(cls, "order", None)):
        return EntryOfSlot(slot, path, path, cls.__doc__ or "", tuple(_parameters(inspect.signature(cls))))
    if getattr(cls, "slot", None) != slot:
        base = "Weighting" if slot == "weight" else slot.title().replace("_", "")
        raise UserError(
            f"{slot} {path} is no entry of this slot; expected a subclass of {base} (`lt-bench list slots {slot}` names its file)"
        )
    return EntryOfSlot(slot, path, path, cls.__doc__ or "", tuple(cls.declared.values()), cls.stackable)


def _parameters(signature: inspect.Signature) -> Iterator[Hyperparameter]:
    """The arguments of a sampler; any value fits an argument whose default is missing or no number or text."""
    for name, one in signature.parameters.items():
        kind = type(one.default) if isinstance(one.default, int | float | str) else object
        yield Hyperparameter(name, kind, one.default, attribute=name)


def _sampler(sampler: SamplerEntry) -> EntryOfSlot:
    values = {name: ast.literal_eval(value) for name, _, value in (one.partition("=") for one in sampler.parameters)}
    parameters = tuple(Hyperparameter(name, type(value), value, attribute=name) for name, value in values.items())
    return EntryOfSlot("sampler", sampler.name, sampler.class_path, sampler.doc, parameters)


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
