"""``run``, ``verify``, ``import-features``, ``data check`` and ``check`` as JSON: one document on standard output, and nothing else."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lt_bench.core.seals import sealed


def test_run_and_verify_as_json(cli, small_cache, tmp_path):
    run = ("run", "--strategy", "joint,ncm", "--cache", "small", "--json")
    done = cli(*run)
    assert done.code == 0, done.err
    records = json.loads(done.out)
    assert [record["identity"]["strategy"] for record in records] == ["joint", "ncm"]
    assert 0 <= records[0]["metrics"]["test"]["accuracy"] <= 1
    assert json.loads(cli(*run).out) == records  # recorded before
    path = next((tmp_path / "results" / "embeddings").glob("joint-*.json"))
    done = cli("verify", str(path.relative_to(tmp_path)), "--json")
    document = json.loads(done.out)
    assert (done.code, document["record"], document["tolerance"]) == (0, str(path.relative_to(tmp_path)), 1e-5)
    assert document["differences"]["test/accuracy"] == 0
    assert all(value is not None and value <= 1e-5 for value in document["differences"].values())


_read: list[str] | None = None
"""Files that were opened to be read, where a test collects them: an audit hook can never be taken away again."""


def _note(event, arguments):
    if _read is not None and event == "open" and isinstance(arguments[1], str) and arguments[1].startswith("r"):
        _read.append(str(arguments[0]))


@pytest.fixture(scope="module")
def listening():
    sys.addaudithook(_note)


@pytest.fixture
def read(monkeypatch, listening):
    monkeypatch.setattr(sys.modules[__name__], "_read", [])
    return _read


@pytest.mark.parametrize("verb", ["run --strategy joint,ncm --cache small --json", "leaderboard --formats csv --json", "validate results"])
def test_a_record_is_read_once_a_command(cli, small_cache, tmp_path, read, verb):
    assert cli("run", "--strategy", "joint,ncm", "--cache", "small", "-q").code == 0
    read.clear()
    assert cli(*verb.split()).code == 0
    counts = Counter(Path(one).name for one in read)
    records = [*(tmp_path / "results" / "embeddings").glob("*.json")]
    assert [counts[path.name] for path in records] == [1, 1]


def test_a_record_that_does_not_repeat_is_json_and_an_error(cli, small_cache, tmp_path):
    assert cli("run", "--strategy", "joint", "--cache", "small", "-q").out == ""
    path = next((tmp_path / "results" / "embeddings").glob("*.json"))
    record = json.loads(path.read_text())
    record["metrics"]["test"]["accuracy"] += 0.25
    path.write_text(json.dumps(sealed(record)))
    done = cli("verify", str(path), "--json")
    assert done.code == 2
    assert json.loads(done.out)["differences"]["test/accuracy"] == pytest.approx(0.25)
    assert "does not repeat: test/accuracy differs by 0.25" in done.err


def test_import_as_json(cli, tmp_path):
    np.savez(tmp_path / "train.npz", features=np.random.default_rng(0).normal(size=(12, 3)), labels=np.arange(12) % 2)
    done = cli("import-features", "--name", "mine", "--train", "train.npz", "--test", "train.npz", "--out", "mine", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["name"] == "mine"
