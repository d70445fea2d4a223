"""Every test here has a home of its own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Statistics are kept in the suite's home; tests have their own."""
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
