"""``lt-bench leaderboard``: records to tables."""

from __future__ import annotations

from lt_bench.bench.options import LeaderboardOptions
from lt_bench.core.console import page_console
from lt_bench.leaderboard.build import build_leaderboard


def leaderboard(options: LeaderboardOptions) -> None:
    """Print every board of the records and write the files."""
    console = page_console()
    written = build_leaderboard(
        options.results, options.out, options.formats, column_modules=options.columns, statistics=options.statistics, console=console
    )
    console.print("wrote " + ", ".join(str(path) for path in written), soft_wrap=True)
