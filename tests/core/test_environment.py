from __future__ import annotations

import subprocess

from lt_bench.core import environment as module
from lt_bench.core.environment import environment
from lt_bench.results.record import schema


def test_it_has_the_fields_that_the_schema_asks_for():
    found = environment(device="cpu", devices=1, threads=3, deterministic=False)
    assert set(found) == set(schema()["properties"]["environment"]["required"])
    assert found["threads"] == 3
    assert found["deterministic"] is False


def test_commit_is_that_of_the_checkout():
    wanted = subprocess.run(["git", "-C", str(module.PACKAGE), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert environment()["commit"] == (wanted.stdout.strip() if wanted.returncode == 0 else None)


def test_a_package_outside_a_checkout_claims_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    module._commit.cache_clear()
    assert module._commit() == (None, None)
    module._commit.cache_clear()
