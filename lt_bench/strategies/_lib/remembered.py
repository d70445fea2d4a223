"""Tables of the training features that several heads share, computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor

from lt_bench.features.source import FeatureSource

T = TypeVar("T")
BYTES = 1 << 29
"""Most bytes of tensors that are remembered for a data set; the least recently used are forgotten first."""
_TABLES: WeakKeyDictionary[FeatureSource, dict[Hashable, Any]] = WeakKeyDictionary()


def remembered(train: FeatureSource, key: Hashable, compute: Callable[[], T]) -> T:
    """The result of ``compute``, or that of the last call with this key while ``train`` is alive; not to be written to.

    Args:
        train: the training features; for features that change during a fit, nothing is remembered.
        key: everything else that the result depends on.
        compute: tensors, a tuple of them, or a dataclass of them.
    """
    if train.moves:
        return compute()
    table = _TABLES.setdefault(train, {})
    value = table[key] = table.pop(key) if key in table else compute()
    while len(table) > 1 and sum(map(_bytes, table.values())) > BYTES:
        del table[next(iter(table))]
    return value


def content(*tensors: Tensor) -> str:
    """A key of the values of tensors, by hash."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(map(_bytes, value if isinstance(value, tuple) else vars(value).values() if hasattr(value, "__dict__") else ()))
