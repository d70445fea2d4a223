"""Hyper-parameters of strategies and slots, declared once: type, default, range, grid and help in one class attribute. Free of torch."""

from __future__ import annotations

import ast
import inspect
import math
import types
import typing
from dataclasses import dataclass, replace
from typing import Any

from lt_bench.core.errors import UserError

TYPES = {"float": float, "int": int, "bool": bool, "str": str, "Literal": typing.Literal, "tuple": tuple, "None": None}
"""Names of which the type of a hyper-parameter is made."""


@dataclass(frozen=True)
class Hyperparameter:
    """A declared hyper-parameter.

    Attributes:
        name: on the command line and in records.
        type: float, int, bool, str, a Literal or a tuple of those.
        default: value where none is given.
        low: smallest value that is accepted, inclusive.
        high: largest value that is accepted, inclusive.
        grid: values that tuning tries.
        help: what the hyper-parameter does.
        attribute: name of the attribute of the strategy, where it differs from ``name``.
    """

    name: str
    type: Any
    default: Any
    low: float | None = None
    high: float | None = None
    grid: tuple[Any, ...] = ()
    help: str = ""
    attribute: str = ""

    def check(self, owner: str, value: Any) -> None:
        """Refuse a value of another type or outside the range; tensors hold one value for each head of a stack.

        Raises:
            UserError: the message names owner, hyper-parameter, value and the expected values.
        """
        options = typing.get_args(self.type) if typing.get_origin(self.type) is typing.Literal else ()
        if options and value not in options:
            raise UserError(f"{owner}.{self.name} is {value!r}, expected one of {', '.join(map(str, options))}")
        if self.low is None and self.high is None:
            return
        low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
        for one in value.flatten().tolist() if hasattr(value, "flatten") else [value]:
            if isinstance(one, bool) or not isinstance(one, int | float) or not low <= one <= high:
                raise UserError(f"{owner}.{self.name} is {one}, expected a number {self.range_text}")

    @property
    def range_text(self) -> str:
        """The range in words; empty where there is none."""
        if self.low is not None and self.high is not None:
            return f"from {self.low:g} to {self.high:g}"
        return f"of at least {self.low:g}" if self.low is not None else f"of at most {self.high:g}" if self.high is not None else ""


@dataclass(frozen=True)
class Declaration:
    """The result of ``hyper``: a hyper-parameter before its class gives it a name and a type."""

    default: Any
    low: float | None = None
    high: float | None = None
    grid: tuple[Any, ...] = ()
    help: str = ""
    name: str = ""


def hyper(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    grid: tuple[Any, ...] = (),
    help: str = "",  # noqa: A002 - the word of the command line
    name: str = "",
) -> Any:
    """Declare a hyper-parameter as a class attribute.

    ``epsilon: float = hyper(0.98, low=0, high=1, grid=(0.5, 0.98), help="mass spread over the classes")``

    Args:
        default: value where none is given; an instance has the value under the name of the attribute.
        low: smallest value that is accepted.
        high: largest value that is accepted.
        grid: values that ``lt-bench tune`` tries.
        help: one sentence for ``--help``.
        name: on the command line and in records, where the attribute has another name.
    """
    return Declaration(default, low, high, grid, help, name)


_OF_TYPES = (ast.Expression, ast.Name, ast.Load, ast.Subscript, ast.Tuple, ast.Constant, ast.BinOp, ast.BitOr, ast.UnaryOp, ast.USub)
"""Syntax that an annotation may have."""


def type_of(annotation: str, where: str) -> Any:
    """The type that an annotation in source text means.

    Raises:
        UserError: the annotation is made of other names than ``TYPES``.
    """
    try:
        tree = ast.parse(annotation, mode="eval")
        if not all(isinstance(node, _OF_TYPES) for node in ast.walk(tree)):  # a call or an attribute could run anything
            raise TypeError
        return eval(compile(tree, where, "eval"), {"__builtins__": {}}, TYPES)
    except (NameError, TypeError, SyntaxError, ValueError, RecursionError):
        raise UserError(
            f"{where}: type {annotation!r} is not made of float, int, bool, str, Literal, tuple and None; the command line is made from it"
        ) from None


def type_name(kind: Any) -> str:
    """A type as a person reads it: ``float``, ``a | b`` for literals."""
    if typing.get_origin(kind) is typing.Literal:
        return " | ".join(str(option) for option in typing.get_args(kind))
    return getattr(kind, "__name__", str(kind)) if not isinstance(kind, types.UnionType) else str(kind)


def declared_in(cls: type) -> dict[str, Hyperparameter]:
    """Hyper-parameters of a class by attribute: inherited ones, then those of its own body, which are taken off the class.

    A plain value for an inherited hyper-parameter (``scale = 20.0``) changes its default.

    Raises:
        UserError: a declaration without a type.
    """
    inherited: dict[str, Hyperparameter] = {}
    for base in reversed(cls.__mro__[1:]):
        inherited |= base.__dict__.get("declared", {})
    own: dict[str, Hyperparameter] = {}
    annotations = inspect.get_annotations(cls)
    for attribute, value in list(cls.__dict__.items()):
        if isinstance(value, Declaration):
            if attribute not in annotations:
                raise UserError(f"{cls.__qualname__}.{attribute} needs a type: `{attribute}: float = hyper(...)`")
            kind = annotations[attribute]
            where = f"{cls.__module__}.{cls.__qualname__}.{attribute}"
            kind = type_of(kind, where) if isinstance(kind, str) else kind
            name = value.name or attribute
            own[attribute] = Hyperparameter(name, kind, value.default, value.low, value.high, tuple(value.grid), value.help, attribute)
        elif attribute in inherited:
            own[attribute] = replace(inherited[attribute], default=value)
    for attribute in own:
        delattr(cls, attribute)
    return inherited | own
