"""Damaged and hostile versions of a file, drawn from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1.5, "", "nan", "=HYPERLINK(\"x\")", "<img src=x onerror=alert(1)>", "a\n\nb", "\x1b[31m", "../../x", [], {}, [[]], {"a": 1},
    [None], "x" * 5000,
)  # fmt: skip
"""Replacements of a value."""
ODD_TEXTS = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "[" * 5000, '{"a":' * 5000, "01", "'a'", "")
"""Replacements of a value that are no JSON, or none that can be read."""


def damaged(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Bytes with a fault as disks, transfers and editors make them; and what it is."""
    fault = draw.choice((_flip, _flip, _flip, _truncate, _empty, _zeros, _insert, _twice, _noise))
    return fault.__name__.strip("_"), fault(content, draw)


def odd_json(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """A JSON text with one value replaced, left out, written twice, or that is no JSON at all; and what was done."""
    document = json.loads(content)
    places = list(_places(document, ()))
    path = draw.choice(places)
    what = draw.choice(("replaced", "replaced", "text", "removed", "twice", "added"))
    if what == "replaced":
        value = draw.choice(ODD_VALUES)
        return f"{'.'.join(map(str, path))} is {value!r:.40}", json.dumps(_with(document, path, lambda _: value)).encode()
    if what == "removed":
        return f"{'.'.join(map(str, path))} removed", json.dumps(_without(document, path)).encode()
    if what == "added":
        return "a field added", json.dumps(document | {"unheard of": 1} if isinstance(document, dict) else [document]).encode()
    mark = "\u2020mark"
    text = json.dumps(_with(document, path, lambda _: mark), ensure_ascii=False)
    odd = draw.choice(ODD_TEXTS)
    if what == "text":
        return f"{'.'.join(map(str, path))} is {odd:.20}", text.replace(f'"{mark}"', odd).encode()
    key = json.dumps(str(path[-1]))
    return f"{'.'.join(map(str, path))} twice", text.replace(f'{key}: "{mark}"', f"{key}: 1, {key}: 2").replace(f'"{mark}"', "3").encode()


def _places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from _places(one, (*path, key))


def _with(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(value[path[0]], path[1:], change)
    return copy


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _without(value[path[0]], path[1:])
    return copy


def _flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 8))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _truncate(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(1, len(content))]


def _empty(content: bytes, draw: random.Random) -> bytes:
    return b""


def _zeros(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :]


def _insert(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + draw.randbytes(draw.randrange(1, 64)) + content[at:]


def _twice(content: bytes, draw: random.Random) -> bytes:
    return content + content


def _noise(content: bytes, draw: random.Random) -> bytes:
    return draw.randbytes(draw.randrange(1, 400))
