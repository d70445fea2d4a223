"""The house: short functions, short files of strategies, names that say what a thing is. What is against it: `python tests/house.py`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import house


def test_functions_are_short() -> None:
    assert house.long_functions() == []


def test_files_of_strategies_are_short() -> None:
    assert house.strategy_files()
    assert house.long_strategy_files() == []


def test_no_file_is_shared_without_a_subject() -> None:
    assert house.shared_files() == []


def test_names_say_what_a_thing_is() -> None:
    assert [line for line in house.vague_names() if not line.startswith(("lt_bench/leaderboard/", "lt_bench/results/"))] == []
