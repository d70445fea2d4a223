"""Records come from the one builder, tests/leaderboard/builder.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def builder():
    path = Path(__file__).parents[1] / "leaderboard" / "builder.py"
    spec = importlib.util.spec_from_file_location("lt_bench_test_builder", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.Builder()


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Statistics are kept in the suite's home; tests have their own."""
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
