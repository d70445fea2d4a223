from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from lt_bench.core.errors import UserError
from lt_bench.core.seals import sealed
from lt_bench.results import store as store_module
from lt_bench.results.seal import array_digest
from lt_bench.results.store import Store, read_record, record_paths
from tests.results.edited import rewritten


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def test_round_trip(store, builder):
    record, arrays = builder.make()
    path = store.path(store.write(record, arrays))
    assert path == store.directory / "cifar10_lt" / f"los-{record.id}.json" == store.path(record)
    assert store.has(record.id)
    stored = store.load(record.id)
    assert dataclasses.replace(stored, arrays={}) == record
    assert stored.arrays.keys() == arrays.keys()
    back = store.arrays(record)
    assert back.keys() == arrays.keys()
    assert {name: back[name].dtype for name in ("test_predictions", "test_true_probability")} == {
        "test_predictions": np.dtype("int32"),
        "test_true_probability": np.dtype("float32"),
    }
    assert all(np.array_equal(back[name], arrays[name], equal_nan=True) for name in arrays)


def test_equal_runs_give_equal_bytes(tmp_path, builder):
    record, arrays = builder.make()
    stores = {name: Store(tmp_path / name) for name in "ab"}
    paths = [one.path(one.write(record, dict(reversed(arrays.items())) if name == "b" else arrays)) for name, one in stores.items()]
    for suffix in (".json", ".npz"):
        first, second = (path.with_suffix(suffix).read_bytes() for path in paths)
        assert first == second


def test_choices_of_tune_are_no_records(store, builder):
    record, arrays = builder.make()
    path = store.path(store.write(record, arrays))
    tuned = store.directory / "tuning" / f"los-{'0' * 16}.json"
    tuned.parent.mkdir()
    tuned.write_text("{}")
    assert store.paths() == [path]
    assert store.validate() == []


def test_identities_are_read_of_one_data_set_and_strategy_alone(store, builder, monkeypatch):
    paths = [store.path(store.write(*builder.make(strategy, seed))) for strategy in ("los", "ce") for seed in range(2)]
    elsewhere = store.directory / "other_set" / paths[0].name
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(paths[0].read_bytes())
    (paths[0].parent / f"los-{'0' * 16}.json").write_text("damaged")
    read, read_json = [], store_module.read_json_object
    monkeypatch.setattr(store_module, "read_json_object", lambda path, advice: (read.append(path), read_json(path, advice))[1])
    assert sorted(one["seed"] for one in store.identities("cifar10_lt", "los")) == [0, 1]
    assert sorted(read) == sorted([*paths[:2], paths[0].parent / f"los-{'0' * 16}.json"])
    assert list(store.identities("absent", "los")) == []


def test_the_names_of_files_are_read_once_and_again_where_an_id_is_missing(store, builder, monkeypatch):
    first, others = store.write(*builder.make(seed=0)), [builder.make(seed=seed) for seed in (1, 2, 3)]
    reads, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: reads.append(folder) or listdir(folder))
    new = Store(store.directory)
    assert new.recorded([first.id, others[0][0].id]) == {first.id}
    for one in others[:2]:
        assert not new.holds(one[0])
        new.write(*one)
        assert new.has(one[0].id)
        assert new.load(first.id).id == first.id
    of_records = [folder for folder in reads if folder != store.directory]  # pathlib lists that one, by listdir up to Python 3.12
    assert of_records == [store.path(first).parent], "what is there and what this store writes is known"
    assert not new.has(others[2][0].id)
    other = Store(store.directory).write(*others[2])  # as another process does
    assert new.load(other.id) == other
    store.path(other).unlink()
    assert not new.has(other.id)
    assert new.recorded([first.id, other.id]) == {first.id}
    assert not Store(store.directory / "none").has(first.id)


def test_records_are_sorted_by_id(store, builder):
    for strategy in ("los", "ce", "crt"):
        for seed in range(3):
            store.write(*builder.make(strategy, seed))
    ids = [record.id for record in store.records()]
    assert len(ids) == 9
    assert ids == sorted(ids)


def test_the_same_measurement_again_keeps_the_first_file(store, builder):
    record, arrays = builder.make()
    path = store.path(store.write(record, arrays))
    before = path.read_bytes()
    slower = dataclasses.replace(record, time=dataclasses.replace(record.time, fit_s=99.0))
    assert store.write(slower, arrays).time == record.time
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["metrics", "tuning", "test_true_probability"])
def test_an_id_with_other_content_is_an_error(store, builder, what):
    record, arrays = builder.make()
    path = store.path(store.write(record, arrays))
    before = path.read_bytes()
    if what == "metrics":
        record.metrics["train"]["nll"] += 1e-9
    elif what == "tuning":
        record = dataclasses.replace(record, tuning=dataclasses.replace(record.tuning, kind="tuned"))
    else:
        arrays[what] = arrays[what][::-1].copy()
    with pytest.raises(UserError, match=what):
        store.write(record, arrays)
    assert path.read_bytes() == before


def test_an_interrupted_write_leaves_no_record(store, builder, monkeypatch):
    record, arrays = builder.make()

    def fail(data):
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "_text", fail)
    with pytest.raises(KeyboardInterrupt):
        store.write(record, arrays)
    assert not store.has(record.id)
    assert [path.suffix for path in store.path(record).parent.iterdir()] == [".npz"]
    monkeypatch.undo()
    store.write(record, arrays)
    assert store.load(record.id).id == record.id


def test_wrong_arrays_are_refused(store, builder):
    record, arrays = builder.make()
    for name, value in (
        ("test_labels", arrays["test_labels"][:-1]),
        ("test/class_accuracy", np.zeros(3)),
        ("loma", np.zeros(10)),
        ("course/cosine", np.zeros((2, 10))),
        ("test_predictions", 0 * arrays["test_labels"]),
    ):
        with pytest.raises(UserError, match=name):
            store.write(record, arrays | {name: value})
    with pytest.raises(UserError, match="test_predictions missing"):
        store.write(record, {name: value for name, value in arrays.items() if name != "test_predictions"})
    assert not store.has(record.id)


def test_validate_names_every_fault(store, builder):
    paths = [store.path(store.write(*builder.make(seed=seed))) for seed in range(4)]
    assert store.validate() == []
    paths[0].write_text("{")
    data = json.loads(paths[1].read_bytes())
    data["dataset"]["n_test"] = "many"
    paths[1].write_text(json.dumps(data))
    paths[2].with_suffix(".npz").unlink()
    faults = store.validate()
    assert len(faults) == 3
    assert all(any(str(path.with_suffix("")) in fault for fault in faults) for path in paths[:3])
    assert any("dataset.n_test" in fault for fault in faults)


def edited(path, change):
    """The JSON of a record with a change, and its identity's hash and file name put right, as a careful hand would leave it."""
    data = json.loads(path.read_bytes())
    change(data)
    return rewritten(path, data)


EDITS = {
    "accuracy": lambda d: d["metrics"]["test"].update(accuracy=0.999),
    "macro accuracy": lambda d: d["metrics"]["test"].update(macro_accuracy=0.999),
    "hyper-parameters": lambda d: d["identity"]["hyperparameters"].update(epsilon=0.5),
    "protocol": lambda d: d["identity"].update(protocol="images-eval"),
    "code": lambda d: d["identity"].update(code="revision 9"),
    "seed": lambda d: d["identity"].update(seed=5),
    "tuning": lambda d: d["tuning"].update(grid_size=1),
    "class names": lambda d: d["dataset"]["class_names"].reverse(),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_record_is_refused(store, builder, what):
    path = edited(store.path(store.write(*builder.make())), EDITS[what])
    with pytest.raises(UserError, match=r"altered after it was written .* restore it from a copy, or move it away and run again") as caught:
        read_record(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert [str(caught.value)] == store.validate()


def test_a_key_that_stands_twice_is_refused(store, builder):
    path = store.path(store.write(*builder.make()))
    text = path.read_text()
    path.write_text(text.replace('{"test":{', '{"test":{"accuracy":0.999,', 1))
    with pytest.raises(UserError, match="'accuracy' stands twice"):
        read_record(path)


def test_the_arrays_of_another_run_are_refused(store, builder):
    """Also where the two runs agree in accuracy and shape: predictions in another order."""
    record, arrays = builder.make()
    path = store.path(store.write(record, arrays))
    arrays = store.arrays(record)
    order = np.roll(np.arange(arrays["test_labels"].size), 1)
    other = arrays | {name: arrays[name][order] for name in ("test_predictions", "test_labels", "test_true_probability")}
    np.savez_compressed(path.with_suffix(".npz"), **other)
    with pytest.raises(UserError, match=r"\.npz: test_labels is not the one that was recorded"):
        store.arrays(record)
    assert "is not the one that was recorded" in store.validate()[0]
    np.savez_compressed(path.with_suffix(".npz"), **{name: array for name, array in arrays.items() if name != "test/cosine"})
    with pytest.raises(UserError, match="test/cosine missing"):
        store.arrays(record)


def test_the_digest_of_an_array_is_of_its_values_type_and_shape():
    array = np.arange(6, dtype=np.float64)
    digests = {array_digest(one) for one in (array, array[::-1], array.astype(np.float32), array.reshape(2, 3), array.reshape(3, 2))}
    assert len(digests) == 5
    assert array_digest(np.arange(12.0)[::2] / 2) == array_digest(array) == array_digest(array.astype(">f8"))


def test_unknown_id_and_missing_directory(store):
    with pytest.raises(UserError, match="no record with id"):
        store.load("0" * 16)
    with pytest.raises(UserError, match="no such directory"):
        store.paths()


def test_a_wider_grid_with_the_same_choice_is_said_and_nothing_else_changes(store, builder):
    record, arrays = builder.make(kind="tuned")
    path = store.path(store.write(record, arrays))
    before = json.loads(path.read_bytes())
    wider = dataclasses.replace(record.tuning, grid_size=48, tuning_id="t2")
    retuned = store.retuned(store.load(record.id), wider)
    assert retuned.tuning == wider
    after = json.loads(path.read_bytes())
    assert after == sealed(before | {"tuning": dataclasses.asdict(wider)})
    assert store.validate() == []
    stamp = path.stat().st_mtime_ns
    store.retuned(retuned, wider)
    assert path.stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match=r"tuning\.kind"):
        store.retuned(retuned, dataclasses.replace(wider, kind="user"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "mine,theirs",
            "one directory of records is read, not 2; name one of them (a submission that lies in it is read with it), and give runs ",
        ),
        ("mine,,theirs", "a name beside a comma is empty, and one directory of records is read, not 2; name one of them"),
        ("mine,", "a name beside a comma is empty, and one directory of records is read; name mine alone"),
        (",theirs", "a name beside a comma is empty, and one directory of records is read; name theirs alone"),
        (",", "no such directory of records; `lt-bench run --results , ...` makes one"),
        ("mine,nowhere", "no such directory of records; `lt-bench run --results mine,nowhere ...` makes one"),
        ("my runs", "no such directory of records; `lt-bench run --results 'my runs' ...` makes one"),
        ("results", "no such directory of records; `lt-bench run ...` makes one"),
    ],
)
def test_what_is_no_directory_of_records_is_refused_in_words(tmp_path, monkeypatch, name, said):
    """Without a command that copies: equal names in two directories would be overwritten."""
    monkeypatch.chdir(tmp_path)
    for one in ("mine", "theirs"):
        (tmp_path / one).mkdir()
    with pytest.raises(UserError) as caught:
        record_paths(Path(name))
    assert str(caught.value).startswith(f"{name}: {said}")
    assert "cp " not in str(caught.value)


def test_the_advice_names_a_place_with_a_space_as_one_word(tmp_path, builder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("my runs")
    record, arrays = builder.make()
    store.write(record, arrays)
    with pytest.raises(UserError, match=rf"`lt-bench verify 'my runs/cifar10_lt/los-{record.id}\.json'`"):
        store.write(dataclasses.replace(record, metrics=record.metrics | {"train": record.metrics["train"] | {"nll": 9.0}}), arrays)
    with pytest.raises(UserError, match="`lt-bench leaderboard --results 'my runs'` lists what is there"):
        store.load("0" * 16)


def test_a_folder_of_records_that_cannot_be_read_is_not_left_out(store, builder, close):
    record = store.write(*builder.make("los", 0))
    other = store.directory / "other"
    other.mkdir()
    close(other)
    assert store.path(record).is_file()
    with pytest.raises(UserError, match=r"other: cannot be read \(Permission denied\)"):
        record_paths(store.directory)
    with pytest.raises(UserError, match=r"other: cannot be read \(Permission denied\)"):
        Store(store.directory).has("0" * 16)


def test_folders_that_are_no_datasets_may_be_closed_and_each_other_one_is_listed_once(store, builder, close, monkeypatch):
    """``lost+found`` is root's where a file system is mounted as results."""
    record = store.write(*builder.make("los", 0))
    for name in ("lost+found", ".hidden", "tuning"):
        (store.directory / name).mkdir()
        close(store.directory / name)
    (store.directory / "sent").mkdir()
    (store.directory / "sent" / "submission.json").write_text("{}")
    inside = Store(store.directory / "sent").write(*builder.make("los", 1))
    seen = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: [seen.append(str(folder)), listdir(folder)][1])
    assert record_paths(store.directory) == [store.path(record), Store(store.directory / "sent").path(inside)]
    assert len(seen) == len(set(seen)) == 5  # the two directories, a folder in each, and the statement, which is none
    assert Store(store.directory).has(record.id)
    assert Store(store.directory).recorded([record.id, "0" * 16]) == {record.id}
