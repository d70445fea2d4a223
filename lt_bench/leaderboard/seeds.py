"""The seeds of rows, in words."""

from __future__ import annotations

from collections.abc import Sequence

from lt_bench.core.names import span
from lt_bench.leaderboard.boards import Row


def seeds_text(rows: Sequence[Row]) -> str:
    """The seeds of rows: `0-2` where all have them, else `0-2 (1 to 3 a row)`; rows that train nothing, which need one only, count where no other row is."""
    rows = [row for row in rows if row.varies is not None] or rows
    union = sorted({seed for row in rows for seed in row.seeds})
    least, most = (f(len(row.seeds) for row in rows) for f in (min, max))
    if least == len(union):
        return seed_text(union)
    return f"{seed_text(union)} ({span(least, most)} a row)"


def seed_text(seeds: list[int]) -> str:
    """`0-4` where they follow each other, else `0,2,5`."""
    consecutive = seeds == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]}-{seeds[-1]}" if consecutive and len(seeds) > 1 else ",".join(map(str, seeds))
