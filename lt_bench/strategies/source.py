"""Facts of a class read from its source with ``ast``, so that nothing is imported. Free of torch."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lt_bench.core.errors import UserError
from lt_bench.strategies.hyper import Hyperparameter, hyper, type_of
from lt_bench.strategies.official import Official
from lt_bench.strategies.recipe import Recipe

CALLS: dict[str, Callable[..., Any]] = {"Recipe": Recipe, "Official": Official}
"""Facts that may be calls with literal arguments."""


def assignments(node: ast.ClassDef) -> Iterable[tuple[str, ast.expr | None, ast.expr, int]]:
    """Name, annotation, value and line of every assignment in the body of a class."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, None, statement.value, statement.lineno
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None:
            yield statement.target.id, statement.annotation, statement.value, statement.lineno


def class_facts(node: ast.ClassDef, path: Path, names: Collection[str]) -> dict[str, Any]:
    """Literal values of those ``names`` that the class assigns.

    Raises:
        UserError: a value is no literal.
    """
    facts = {}
    for name, _, value, line in assignments(node):
        if name in names:
            try:
                facts[name] = _literal(value)
            except ValueError:
                raise UserError(
                    f"{path}:{line}: {node.name}.{name} must be a literal, the registry reads it without importing the file"
                ) from None
    return facts


def declarations(node: ast.ClassDef, path: Path, inherited: dict[str, Hyperparameter] | None = None) -> dict[str, Hyperparameter]:
    """Hyper-parameters of a class by attribute: ``inherited`` ones, with defaults that the class changes, and those that it declares with ``hyper``.

    Raises:
        UserError: a declaration without a type, or with arguments that are no literals.
    """
    declared = dict(inherited or {})
    for attribute, annotation, value, line in assignments(node):
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "hyper":
            where = f"{path}:{line}: {node.name}.{attribute}"
            if annotation is None:
                raise UserError(f"{where} needs a type: `{attribute}: float = hyper(...)`")
            try:
                said = hyper(
                    *map(_literal, value.args), **{keyword.arg: _literal(keyword.value) for keyword in value.keywords if keyword.arg}
                )
            except ValueError:
                raise UserError(f"{where}: the arguments of hyper must be literals, the command line is made from them") from None
            kind = type_of(ast.unparse(annotation), where)
            name = said.name or attribute
            declared[attribute] = Hyperparameter(name, kind, said.default, said.low, said.high, tuple(said.grid), said.help, attribute)
        elif attribute in declared:
            declared[attribute] = replace(declared[attribute], default=_literal(value))
    return declared


def slot_texts(node: ast.ClassDef, attributes: Collection[str]) -> dict[str, str | None]:
    """Entries of the vocabulary that a class assigns, as source text: ``Smooth("epsilon")``; None where it defines a method of that name."""
    texts: dict[str, str | None] = {name: ast.unparse(value) for name, _, value, _ in assignments(node) if name in attributes}
    return texts | {one.name: None for one in node.body if isinstance(one, ast.FunctionDef) and one.name in attributes}


def methods_of(node: ast.ClassDef) -> set[str]:
    """Names of the methods that a class defines."""
    return {one.name for one in node.body if isinstance(one, ast.FunctionDef)}


def _literal(value: ast.expr) -> Any:
    if isinstance(value, ast.Tuple):
        return tuple(map(_literal, value.elts))
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in CALLS:
        named = {keyword.arg: _literal(keyword.value) for keyword in value.keywords if keyword.arg}
        return CALLS[value.func.id](*map(_literal, value.args), **named)
    return ast.literal_eval(value)
