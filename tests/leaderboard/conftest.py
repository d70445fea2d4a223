"""Every test here has a home of its own."""

from __future__ import annotations

import pytest

from lt_bench.leaderboard.published.published import for_dataset, nearest
from lt_bench.results.store import Store


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Statistics are kept in the suite's home; tests have their own."""
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))


@pytest.fixture
def results(tmp_path, builder):
    """A directory with a record of ``los`` and one of ``ce``."""
    store = Store(tmp_path / "results")
    for strategy, skill in (("los", 1.0), ("ce", 0.0)):
        store.write(*builder.make(strategy, 0, skill))
    return store.directory


@pytest.fixture
def published_lines(monkeypatch):
    """Put lines in the place of the published ones: ``published_lines(lines)``."""

    def forget():
        for cached in (for_dataset, nearest):
            cached.cache_clear()

    def put(lines):
        forget()
        monkeypatch.setattr("lt_bench.leaderboard.published.published.published", lambda: lines)

    yield put
    forget()
