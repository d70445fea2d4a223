"""``lt-bench leaderboard``: records to tables."""

from __future__ import annotations

from rich.console import Console

from lt_bench.leaderboard.build import build_leaderboard, print_tables
from lt_bench.runs.options import LeaderboardOptions


def leaderboard(options: LeaderboardOptions) -> None:
    """Print every board of the records and write the files."""
    print_tables(options.results)
    written = build_leaderboard(options.results, options.out)
    Console().print("wrote " + ", ".join(str(path) for path in written), soft_wrap=True)
