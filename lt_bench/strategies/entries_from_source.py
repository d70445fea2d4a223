"""Entries of strategies from their source, read with ``ast``: listing them imports nothing. Free of torch."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lt_bench.core.errors import UserError
from lt_bench.strategies import composition
from lt_bench.strategies.entry import INHERITED, PACKAGE, Entry, inherited
from lt_bench.strategies.hyper import Hyperparameter
from lt_bench.strategies.slots.vocabulary import ATTRIBUTES, TITLES
from lt_bench.strategies.source import class_facts, declarations, methods_of, slot_texts


@dataclass
class ClassRead:
    """Facts of one class and its bases, read from their source."""

    node: ast.ClassDef
    facts: dict[str, Any]
    declared: dict[str, Hyperparameter]
    slots: dict[str, str | None]
    own_methods: bool
    stated: dict[str, Any]


def entries_of(path: Path) -> list[Entry]:
    """Entries of the classes in a file that state a literal ``name``."""
    entries = []
    for name, read in classes_of(path).items():
        if "name" in read.stated:
            doc = ast.get_docstring(read.node)
            if not doc:
                raise UserError(f"{path}: class {name} has no docstring; a strategy's mathematics stands there")
            declared = tuple(read.declared.values())
            path_of_class = f"{PACKAGE}{path.stem}.{name}"
            entries.append(Entry(class_path=path_of_class, doc=doc, hyperparameters=declared, slots=_slots(read), **read.facts))
    return entries


def _slots(read: ClassRead) -> dict[str, str] | None:
    """Entries by slot in the words of ``compose``; None for a class with methods of its own, or without batches and a head of the usual form."""
    if read.own_methods or read.facts["fitting"] == "solve" or read.facts["initial_head"] == "none":
        return None
    slots = {slot: text for slot, attribute in ATTRIBUTES.items() if (text := read.slots.get(attribute)) is not None}
    names = {one.attribute: one for one in read.declared.values()}
    texts = {slot: composition.written(slot, text, names) for slot, text in slots.items()}
    trained = {"trainable": "none"} if read.facts["fitting"] == "none" else {}
    stated = {"sampler": read.facts["sampler"], "initial_head": read.facts["initial_head"], **trained, **texts}
    return composition.canonical_slots({slot: stated[slot] for slot in TITLES if slot in stated})


@cache
def classes_of(path: Path) -> dict[str, ClassRead]:
    """Every class of a file, by name, with what it inherits from this or another file of the package."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imported = {
        alias.asname or alias.name: statement.module
        for statement in tree.body
        if isinstance(statement, ast.ImportFrom) and statement.module and statement.module.startswith(PACKAGE)
        for alias in statement.names
    }
    classes: dict[str, ClassRead] = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        base = ClassRead(node, dict(INHERITED), {}, {}, False, {})
        for name in (one.id for one in node.bases if isinstance(one, ast.Name)):
            if name in classes:
                base = classes[name]
            elif name in imported and not imported[name].endswith((".contract", ".base")):
                file = Path(__file__).parent.parent.parent.joinpath(*imported[name].split(".")).with_suffix(".py")
                base = classes_of(file).get(name, base)
        stated = class_facts(node, path, {"name", *INHERITED})
        own = declarations(node, path, base.declared)
        changed = {one.name for attribute, one in own.items() if one != base.declared.get(attribute)}
        own_methods = base.own_methods or bool(methods_of(node))
        slots = base.slots | slot_texts(node, set(ATTRIBUTES.values()) - {"sampler", "initial_head"})
        classes[node.name] = ClassRead(node, inherited(base.facts, changed) | stated, own, slots, own_methods, stated)
    return classes
