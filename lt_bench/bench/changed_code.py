"""Remarks on planned runs whose records were made by other code; such records are never reused. Free of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lt_bench.bench.planning import Planned
from lt_bench.core.identity import canonical_json
from lt_bench.results.store import Store


def changed_code(planned: Sequence[Planned], store: Store) -> list[str]:
    """One line for every strategy with planned runs that are recorded under other code and so are fitted anew.

    Args:
        planned: the runs without a record of their own code.
        store: the records.
    """
    codes = {_but_code(run.identity): run.code.text for run in planned}
    before = Counter[str]()
    for dataset, name in sorted({(run.manifest.dataset.name, run.entry.public_name) for run in planned}):
        before[name] += sum(codes.get(_but_code(one), one.get("code")) != one.get("code") for one in store.identities(dataset, name))
    return [
        f"the code of {name} changed since {number} record{'s' * (number > 1)} in {store.directory}, so {'they are' if number > 1 else 'it is'} not used; fitted anew"
        for name, number in sorted(before.items())
        if number
    ]


def _but_code(identity: dict[str, Any]) -> str:
    """The identity of a run, without its seed and its code."""
    return canonical_json({name: value for name, value in identity.items() if name not in ("code", "seed")})
