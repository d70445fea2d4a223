"""JSON and YAML that anyone may have written: a text with two meanings, or with none, is refused. Free of torch."""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 100
"""Collections within collections of a YAML document."""
MOST_NODES = 1_000_000
"""Values of a YAML document with its aliases written out; a few lines of aliases can stand for billions."""


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, a key that stands twice, NaN or infinity, or nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_yaml(text: str) -> Any:
    """The value of a YAML text of plain values.

    Raises:
        ValueError: not YAML, a key that stands twice, nested too deeply, or too large with its aliases written out.
    """
    import yaml

    kind: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there
    depth = 0
    try:
        for event in yaml.parse(text, kind):  # events need no stack; all else does, and libyaml's ends in a segmentation fault
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise ValueError("nested too deeply")
        loader = kind(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, {})
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except (TypeError, OverflowError, AttributeError) as error:  # of a tag that does not fit its value
        raise ValueError(f"a value does not fit its tag ({error})") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is beyond the range of numbers")
    return value


def _size(node: Any, sizes: dict[int, int]) -> int:
    """Number of values under a node, each alias counted as what it stands for."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise ValueError("a value contains itself")
        return sizes[id(node)]
    sizes[id(node)] = 0
    inner: list[Any] = []
    if isinstance(node.value, list):
        inner = [part for one in node.value for part in (one if isinstance(one, tuple) else (one,))]
        keys = [key.value for key, _ in node.value if isinstance(key.value, str)] if node.id == "mapping" else []
        if len(set(keys)) < len(keys):
            raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    size = 1 + sum(_size(one, sizes) for one in inner)
    if size > MOST_NODES:
        raise ValueError(f"more than {MOST_NODES:,} values")
    sizes[id(node)] = size
    return size
