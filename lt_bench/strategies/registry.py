"""The registry of strategies: those of the suite by file, compositions of slots, ensembles, and classes at a dotted path. Free of torch."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lt_bench.core.errors import UserError
from lt_bench.core.names import object_at, suggestion
from lt_bench.strategies import composition, ensembles
from lt_bench.strategies.entries_from_source import classes_of, entries_of
from lt_bench.strategies.entry import INHERITED, PACKAGE, Entry, compose_entry, inherited
from lt_bench.strategies.slots.vocabulary import COMPOSE

_NOT_STRATEGIES = {
    "class_checks",
    "composition",
    "contract",
    "ensemble",
    "ensembles",
    "entries_from_source",
    "entry",
    "facts",
    "hyper",
    "noise",
    "official",
    "pages",
    "recipe",
    "registry",
    "revisions",
    "source",
    "__init__",
}


def strategy_names() -> tuple[str, ...]:
    """Names of the strategies that come with the suite, sorted, without ``compose``."""
    return tuple(sorted(_shipped()))


def find(name: str) -> Entry:
    """The strategy of this name, ``compose``, an ensemble ``ensemble(los+crt)``, or the class at this dotted path ``package.module.Class``.

    Raises:
        UserError: no such strategy (with a suggestion), or no class at that path.
    """
    if members := ensembles.members_in(name):
        return _ensemble([find(one) for one in members])
    shipped = _shipped()
    key = name.replace("-", "_").lower()
    if key in shipped:
        return shipped[key]
    if key == COMPOSE:
        return compose_entry()
    if "." in name:
        return _at_path(name)
    near = _in_a_file_here(name) or suggestion(key, (*shipped, COMPOSE))
    raise UserError(f"unknown strategy {name!r}{near}; `lt-bench list strategies` shows all {len(shipped)}")


def _in_a_file_here(name: str) -> str:
    """A suggestion with the dotted paths of the classes in ``name.py`` of the current folder, which is read and not run; empty without such a file."""
    if not name.isidentifier():
        return ""
    path = Path(f"{name}.py")
    try:
        classes = [f"{name}.{node.name}" for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ClassDef)]
    except (OSError, SyntaxError, ValueError):
        return ""
    return f" (did you mean {' or '.join(map(repr, classes))}, of {path} here?)" if classes else ""


def _ensemble(members: Sequence[Entry]) -> Entry:
    """The entry of an ensemble, whose hyper-parameters are those of its members. Members are sorted, so the order in which they are named does not matter.

    Raises:
        UserError: a member is named twice.
    """
    members = tuple(sorted(members, key=lambda member: member.public_name))
    if twice := [one.public_name for one, other in itertools.pairwise(members) if one.public_name == other.public_name]:
        raise UserError(f"{ensembles.ENSEMBLE}: {twice[0]} is named twice; an ensemble has each of its members once")
    read = classes_of(Path(__file__).with_name("ensemble.py"))["Ensemble"]
    name = f"{ensembles.ENSEMBLE}({'+'.join(member.public_name for member in members)})"
    facts: dict[str, Any] = {**read.facts, **{fact: any(getattr(one, fact) for one in members) for fact in ("inferred", "selected_on_val")}}
    doc = ast.get_docstring(read.node) or ""
    return Entry(name=name, class_path=PACKAGE + "ensemble.Ensemble", doc=doc, hyperparameters=(), members=members, **facts)


@cache
def _shipped() -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem in _NOT_STRATEGIES:
            continue
        for entry in entries_of(path):
            if entry.name in entries:
                raise UserError(
                    f"{path}: strategy {entry.name!r} is defined in {entries[entry.name].class_path} already; names must be unique"
                )
            entries[entry.name] = entry
    return entries


def _at_path(dotted: str) -> Entry:
    cls = object_at(dotted)
    if not isinstance(cls, type):
        raise UserError(f"{dotted} is no class")
    return describe(cls)


def describe(cls: type) -> Entry:
    """The entry of an imported class, also of one that a notebook defines.

    Raises:
        UserError: the class is no strategy.
    """
    path = f"{cls.__module__}.{cls.__qualname__}"
    if not hasattr(cls, "declared") or not hasattr(cls, "recipe"):
        raise UserError(f"{path} is not a lt_bench.Strategy")
    if path == compose_entry().class_path:  # of ``compose``, which has given its slots
        slots = tuple(dataclasses.replace(one, default=cls.composition.get(one.name, one.default)) for one in composition.SLOTS)
        return dataclasses.replace(compose_entry(), hyperparameters=slots, recipe=cls.recipe, **composition.facts(cls.composition))
    facts = _facts_of(cls)
    for slot in ("sampler", "initial_head"):
        facts[slot] = facts[slot] if isinstance(facts[slot], str) else _path_of(facts[slot])
    declared = tuple(cls.declared.values())
    return Entry(
        name=cls.name or cls.__name__, class_path=path, doc=inspect.getdoc(cls) or cls.__name__, hyperparameters=declared, cls=cls, **facts
    )


def _facts_of(cls: type) -> dict[str, Any]:
    """Facts of an imported class, collected from its farthest base to itself."""
    facts, declared = dict(INHERITED), {}
    for one in reversed(cls.__mro__):
        if "declared" in one.__dict__:
            changed = {known.name for attribute, known in one.__dict__["declared"].items() if known != declared.get(attribute)}
            declared = one.__dict__["declared"]
            facts = inherited(facts, changed) | {name: one.__dict__[name] for name in INHERITED if name in one.__dict__}
    return facts


def _path_of(value: Any) -> str:
    """Dotted path of a class; for an instance, that of its class with its values."""
    cls = value if isinstance(value, type) else type(value)
    path = f"{cls.__module__}.{cls.__qualname__}"
    values = {} if isinstance(value, type) else getattr(value, "arguments", None) or vars(value)
    return f"{path}({', '.join(f'{name}={one}' for name, one in values.items())})" if values else path
