"""JSON Schema (2020-12) of a dataclass, from its type hints."""

from __future__ import annotations

import dataclasses
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema_of(hint: Any) -> dict[str, Any]:
    """The schema of a type: plain types, lists, dictionaries of text keys, literals, `| None`, dataclasses and typed dictionaries.

    `Annotated[type, {...}]` adds keywords. Every field of a dataclass is required, unless its keywords have a `default`, and no other is allowed; a typed dictionary may have more.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return schema_of(args[0]) | args[1]
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, UnionType):
        inner = schema_of(args[0])
        return {"enum": [None, *inner["enum"]]} if "enum" in inner else inner | {"type": [inner["type"], "null"]}
    if origin is list:
        return {"type": "array", "items": schema_of(args[0])}
    if origin is dict:
        return {"type": "object"} | ({} if args[1] is Any else {"additionalProperties": schema_of(args[1])})
    if dataclasses.is_dataclass(hint) or is_typeddict(hint):
        properties = {name: schema_of(kind) for name, kind in get_type_hints(hint, include_extras=True).items()}
        required = [name for name, field in properties.items() if "default" not in field]
        closed = {"additionalProperties": False} if dataclasses.is_dataclass(hint) else {}
        return {"type": "object", **closed, "required": required, "properties": properties}
    return {"type": _TYPES[hint]}
