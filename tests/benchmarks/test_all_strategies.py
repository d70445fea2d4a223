"""The script behind the board of all strategies, on a small cache."""

from __future__ import annotations

from benchmarks import all_strategies
from lt_bench.results.store import Store


def test_each_strategy_is_tuned_and_run_with_own_and_tuned_settings_once(small_cache, tmp_path, monkeypatch):
    line = [
        "all_strategies.py",
        "--caches",
        str(small_cache),
        "--results",
        str(tmp_path),
        "--strategies",
        "joint,tau_norm",
        "--accelerator",
        "cpu",
        "--seeds",
        "2",
    ]
    monkeypatch.setattr("sys.argv", line)
    all_strategies.main()
    records = {
        (one.identity.strategy, one.tuning.kind): path for path, one in zip(Store(tmp_path).paths(), Store(tmp_path).records(), strict=True)
    }
    assert sorted(name for name, _ in records) == ["joint", "tau_norm", "tau_norm"]
    assert ("tau_norm", "tuned") in records
    before = {path: path.stat().st_mtime_ns for path in (*records.values(), *(tmp_path / "tuning").glob("*.json"))}
    assert len(before) == 4
    all_strategies.main()
    assert {path: path.stat().st_mtime_ns for path in before} == before
