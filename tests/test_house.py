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
    assert house.long_strategy_files(121) == []


def test_no_file_is_shared_without_a_subject() -> None:
    assert house.shared_files() == []
