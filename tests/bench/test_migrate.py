"""Caches of format 1, records and tunings of schema 1: written by hand as version 0.1.0 wrote them."""

import dataclasses
import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from lt_bench.bench.migrate import UNKNOWN_CODE, _code, migrate
from lt_bench.bench.tuned import tuned_choice
from lt_bench.cli.main import main
from lt_bench.core.errors import UserError
from lt_bench.features.cache import open_cache
from lt_bench.features.manifest import read_manifest
from lt_bench.features.write import digest
from lt_bench.results.store import Store
from lt_bench.strategies.registry import find
from tests.bench.earlier_version import as_earlier_version, as_format_1
from tests.two import server


@pytest.fixture(scope="module")
def original(make_cache, tmp_path_factory):
    """A cache, what was tuned on it and two records (one tuned), all as version 0.1.0 wrote them; their folder, and the records by name before that."""
    root = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_BENCH_HOME", str(root / "home"))
        patch.chdir(root)
        cache = make_cache(root / "home" / "caches" / "mine")
        for verb, *words in (
            ("tune", "--strategy", "tau_norm", "--seeds", "0"),
            ("run", "--strategy", "tau_norm", "--tuned"),
            ("run", "--strategy", "ncm"),
        ):
            assert main([verb, *words, "--cache", "mine"]) == 0
    before = {record.strategy.name: record for record in Store(root / "results").records()}
    as_earlier_version(cache, root / "results")
    return root, before


@pytest.fixture
def place(original, cli, tmp_path, monkeypatch):
    """A copy of the original; returns the paths in it by name, and what the records measured."""
    root, before = original
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    for name in ("home", "results"):
        shutil.copytree(root / name, tmp_path / name)
    results = tmp_path / "results"
    (tuning,) = (results / "tuning").iterdir()
    return {"cache": tmp_path / "home" / "caches" / "mine", "tuning": tuning, "records": Store(results).paths(), "before": before}


def test_all_is_brought_over_and_serves_as_before(cli, place, tmp_path):
    for words in (("run", "--strategy", "ncm", "--cache", "mine"), ("leaderboard",), ("verify", str(place["records"][0]))):
        refused = cli(*words)
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "`lt-bench migrate" in refused.err
    done = cli("migrate", "results", "home")
    assert (done.code, done.err) == (0, "")
    assert "4 brought up to date, 0 were already, 0 stay as they are" in done.out
    after = {record.strategy.name: record for record in Store(tmp_path / "results").records()}
    for name, record in place["before"].items():
        new = after[name]
        assert (new.id, new.metrics, new.time, new.arrays) == (record.id, record.metrics, record.time, record.arrays)
        assert dataclasses.replace(new, tuning=record.tuning) == record
    assert Store(tmp_path / "results").validate() == []
    assert not any(path.exists() for path in [place["tuning"], *place["records"]])
    found = tuned_choice(find("tau_norm"), read_manifest(place["cache"]), tmp_path / "results")
    assert found is not None
    assert after["tau_norm"].tuning.tuning_id == found[1].tuning_id
    again = cli("run", "--strategy", "tau_norm", "--cache", "mine", "--tuned")
    assert (again.code, "1 of 1 were recorded in results before" in again.out) == (0, True)
    assert "0 brought up to date, 4 were already" in cli("migrate", "results", "home").out


def test_a_migration_that_was_killed_before_the_records_is_gone_on_with(place, tmp_path, monkeypatch):
    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lt_bench.bench.migrate._record", dies)
        with pytest.raises(KeyboardInterrupt):
            migrate([tmp_path])
    assert migrate([tmp_path]).refused == []
    record = next(record for record in Store(tmp_path / "results").records() if record.strategy.name == "tau_norm")
    found = tuned_choice(find("tau_norm"), read_manifest(place["cache"]), tmp_path / "results")
    assert found is not None
    assert record.tuning.tuning_id == found[1].tuning_id


def migrating(folder, number, start):
    """One of two processes."""
    start.wait()
    done = migrate([folder])
    (folder / f"said{number}.txt").write_text(f"{len(done.lines)} {done.refused}")


def test_two_migrations_at_once_are_one_after_the_other(place, tmp_path):
    context = server()
    start = context.Barrier(2)
    both = [context.Process(target=migrating, args=(tmp_path, number, start)) for number in (0, 1)]
    for one in both:
        one.start()
    for one in both:
        one.join(100)
    assert [one.exitcode for one in both] == [0, 0]
    assert sorted((tmp_path / f"said{number}.txt").read_text() for number in (0, 1)) == ["0 []", "4 []"]


def test_a_damaged_cache_keeps_its_manifest(place):
    path = place["cache"] / "test.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    before = (place["cache"] / "manifest.json").read_bytes()
    done = migrate([place["cache"]])
    assert (done.lines, len(done.refused)) == ([], 1)
    assert "does not have the checksum of the manifest" in done.refused[0]
    assert (place["cache"] / "manifest.json").read_bytes() == before


def test_what_cannot_be_brought_over_stays_and_is_named(place, tmp_path, cli):
    shutil.move(place["cache"], tmp_path / "away")
    files = [place["tuning"], *place["records"], *(path.with_suffix(".npz") for path in place["records"])]
    before = [path.read_bytes() for path in files]
    done = cli("migrate", "results")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.count("is not among those named and known; name the cache's folder too") == 3
    assert [path.read_bytes() for path in files] == before
    assert cli("migrate", "results", "away").code == 0


def test_a_record_is_not_given_to_a_cache_with_other_labels(place):
    """Its labels reversed and the checksum put right: the same key of format 1, and another cache."""
    path = place["cache"] / "test.safetensors"
    tensors = load_file(path)
    tensors["test/labels"] = tensors["test/labels"].flip(0).contiguous()
    save_file(tensors, path)
    manifest = json.loads((place["cache"] / "manifest.json").read_text())
    manifest["arrays"]["test/labels"]["parts"][0]["sha256"] = digest(tensors["test/labels"])
    (place["cache"] / "manifest.json").write_text(json.dumps(manifest))
    done = migrate([place["cache"], *place["records"]])
    assert len(done.lines) == 1
    assert [("has other labels, names or counts; run again on that cache" in line) for line in done.refused] == [True, True]
    assert all(path.is_file() for path in place["records"])


def test_two_caches_of_one_old_key_are_told_apart_by_their_names(place, make_cache, tmp_path):
    named = tuple(f"label {k}" for k in range(6))
    other = make_cache(tmp_path / "other", dataset={"class_names": named})
    assert as_format_1(other) == json.loads((place["cache"] / "manifest.json").read_text())["key"]
    done = migrate([other, place["cache"], *place["records"]])
    assert (len(done.lines), done.refused) == (4, [])
    assert {record.identity.cache_key for record in Store(tmp_path / "results").records()} == {open_cache(place["cache"]).key}


def altered(place, change):
    """The first record with a change, its id put right."""
    path = place["records"][0]
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["metrics"]["test"].update(accuracy=0.999), "metrics.test.accuracy says 0.999000"),
        (lambda d: d["identity"].update(seed=3), "its id is not that of its identity"),
        (lambda d: d["cache"].update(key="0" * 16), "its id is not that of its identity"),
        (lambda d: d.pop("strategy"), "damaged"),
        (lambda d: d.update(schema=9), "schema is 9"),
    ],
)
def test_an_altered_record_stays(place, change, said):
    path = altered(place, change)
    before = path.read_bytes()
    done = migrate([place["cache"], path])
    assert len(done.refused) == 1
    assert said in done.refused[0]
    assert path.read_bytes() == before
    assert path.with_suffix(".npz").is_file()


def test_the_code_of_a_users_own_strategy_is_unknown(place, tmp_path):
    path = altered(place, lambda d: d["strategy"].update(class_path="mine.Head"))
    done = migrate([place["cache"], path])
    assert done.refused == []
    (new,) = (path for path in Store(tmp_path / "results").paths() if path not in place["records"])
    assert json.loads(new.read_text())["identity"]["code"] == UNKNOWN_CODE


@pytest.mark.parametrize(
    ("slot", "code"), [("my_file.Margin(0.5)", UNKNOWN_CODE), ("my_file.Margin", UNKNOWN_CODE), ("smooth(0.5)", "revision 1")]
)
def test_the_code_of_a_users_own_slot_is_unknown(slot, code):
    assert _code(False, {"transform": slot, "lr": 0.1}) == code


def test_a_tuning_whose_name_lacks_the_key_of_its_cache_stays(place):
    path = place["tuning"].rename(place["tuning"].with_name("mine.json"))
    before = path.read_bytes()
    done = migrate([place["cache"], path])
    assert len(done.refused) == 1
    assert "its name lacks the key of its cache" in done.refused[0]
    assert [one.read_bytes() for one in path.parent.iterdir()] == [before]


def test_an_altered_tuning_stays(place):
    document = json.loads(place["tuning"].read_text())
    document["choice"] = document["grid"][0]["hyperparameters"]
    place["tuning"].write_text(json.dumps(document))
    done = migrate([place["cache"], place["tuning"]])
    assert "its id is not that of its content" in done.refused[0]
    assert place["tuning"].is_file()


def test_other_files(tmp_path):
    (tmp_path / "notes.json").write_text("{}")
    assert migrate([tmp_path]).refused == []
    assert "neither the manifest of a cache, nor a record, nor a tuning" in migrate([tmp_path / "notes.json"]).refused[0]
    with pytest.raises(UserError, match="no such file or folder"):
        migrate([tmp_path / "absent"])


def test_a_folder_that_cannot_be_read_is_not_left_out(tmp_path, close):
    (tmp_path / "results" / "closed").mkdir(parents=True)
    close(tmp_path / "results" / "closed")
    with pytest.raises(UserError, match=r"closed: cannot be read \(Permission denied\)"):
        migrate([tmp_path / "results"])
