"""The leaderboard as a data frame."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_bench.leaderboard.boards import BoardRows, boards
from lt_bench.leaderboard.load import Runs, from_records, load_records
from lt_bench.leaderboard.tables.columns import registered
from lt_bench.leaderboard.tables.text import csv_table

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Runs as rows that may be ranked together: a row for each strategy with its hyper-parameters, on each board.

    Attributes:
        runs: one line for each record.
    """

    runs: Runs

    @property
    def boards(self) -> list[BoardRows]:
        """The boards with their rows, the best mean test accuracy first."""
        return boards(self.runs)

    @property
    def frame(self) -> pandas.DataFrame:
        """The columns of ``leaderboard.csv``: a line for each row, its identity first, and intervals over seeds as ``_low`` and ``_high``."""
        import pandas

        return pandas.read_csv(io.StringIO(csv_table(self.boards, registered(()))))


def leaderboard(records: str | Path | Iterable[Any]) -> Leaderboard:
    """The leaderboard of a directory of records, of run records, or of what has a ``record``: the runs of ``lt_bench.fit``.

    Raises:
        UserError: no records, or two of the same run.
    """
    if isinstance(records, str | Path):
        return Leaderboard(load_records(records))
    return Leaderboard(from_records(getattr(one, "record", one) for one in records))
