"""Labels that set the rows of a board apart."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from lt_bench.results.record import MATMUL
from lt_bench.strategies.recipe import RECIPE_FIELDS
from lt_bench.strategies.slots.vocabulary import COMPOSE, DEFAULTS, TITLES

_SHARES = re.compile(r"\((?:[\d.e+-]+, ){8,}[\d.e+-]+\)")
"""More numbers than a label has room for, such as the shares of a prior."""
_FINGERPRINT = re.compile(r"(?:own|edited) ([0-9a-f]{4})")


def row_labels(keys: list[tuple[Any, ...]], beside: Iterable[tuple[Any, ...]] = ()) -> dict[tuple[Any, ...], str]:
    """A distinct label for each row of a board: the strategy's name, how it was tuned where that is not `official`, and what else sets rows apart.

    Labels always name less exact products, and the slots of a composition that stands alone; an empty slot is named only beside a row without that slot.
    Where a strategy has several programs among the rows and those ``beside`` the board (of other boards of its split), each label names its program: `my_head.MyHead (code 3f2a)`.
    """
    programs = _programs(keys, [*keys, *beside])
    same: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for key in keys:
        same[key[0], key[3]].append(key)
    labels = {}
    for (strategy, kind), group in same.items():
        both = (strategy, "official") in same and (strategy, "inferred") in same
        base = strategy if kind == "official" or (kind == "inferred" and not both) else f"{strategy} ({kind})"
        parsed = [_flat(json.loads(key[2])) for key in group]
        names = _differing(parsed) or (_named_slots(parsed[0]) if strategy == COMPOSE else [])
        partial = {name for name in names if any(name not in values for values in parsed)}
        paths = len({key[1] for key in group}) > 1
        for key, values in zip(group, parsed, strict=True):
            named = [name for name in names if values.get(name, "") != "" or (name in values and name in partial)]
            details = [f"{name}={_SHARES.sub(_counted, str(values[name]))}" for name in named] + ([key[1]] if paths else [])
            if MATMUL in values and MATMUL not in names:
                details.append(f"{MATMUL}={values[MATMUL]}")
            program = f" ({programs[key]})" if key in programs else ""
            labels[key] = base + (f" [{', '.join(details)}]" if details else "") + program
    return labels


def _counted(numbers: re.Match[str]) -> str:
    """The number of shares, and digits that tell them from others: ``(100 shares 3f2a9c)``."""
    return f"({numbers[0].count(',') + 1} shares {hashlib.sha256(numbers[0].encode()).hexdigest()[:6]})"


def _programs(keys: list[tuple[Any, ...]], among: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], str]:
    """The program of each row whose strategy and class have several programs ``among`` all rows: the first digits of a fingerprint, or the revision."""
    codes: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for key in among:
        codes[classes_of(key)].add(key[4])
    return {key: _short(key[4], codes[classes_of(key)]) for key in keys if len(codes[classes_of(key)]) > 1}


def classes_of(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Strategy and class of a row, and the entries of the user's own of a composition: rows that agree in these and not in code are of several programs."""
    slots = json.loads(key[2]) if key[0] == COMPOSE else {}
    names = (str(slots.get(slot, "")).partition("(")[0] for slot in TITLES)
    return key[0], key[1], *sorted(name for name in names if "." in name)


def _short(code: str, among: set[str]) -> str:
    """`code 3f2a`, or the whole text where that does not tell it from the others."""
    texts = {one: match.expand(r"code \1") if (match := _FINGERPRINT.search(one)) else one for one in among}
    return texts[code] if list(texts.values()).count(texts[code]) == 1 else code


def _differing(parsed: list[dict[str, Any]]) -> list[str]:
    """Names of the hyper-parameters in which rows of one strategy differ; fields of the recipe are compared only among rows that have them."""
    names = {name for values in parsed for name in values}
    having = {name: [one for one in parsed if name in one or name not in RECIPE_FIELDS] for name in names}
    return sorted(name for name in names if len({repr(one.get(name)) for one in having[name]}) > 1)


def _named_slots(values: dict[str, Any]) -> list[str]:
    """Slots of a composition that are filled, and not with their default."""
    return [slot for slot in TITLES if values.get(slot, "") not in ("", DEFAULTS.get(slot))]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
