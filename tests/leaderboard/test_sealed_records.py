"""A table never shows an edited number: records are read whole, with the arrays that were recorded."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from lt_bench.core.errors import UserError
from lt_bench.core.seals import sealed
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.load import load_records
from lt_bench.leaderboard.wandb.ledger import Destination
from lt_bench.leaderboard.wandb.view import push
from lt_bench.results.store import Store, read_record

EDITS = {
    "accuracy": ('"accuracy":0', '"accuracy":0.9'),
    "beyond one": (r'"accuracy":[\d.]+', '"accuracy":7.3'),
    "true": (r'"accuracy":[\d.]+', '"accuracy":true'),
    "null": (r'"accuracy":[\d.]+', '"accuracy":null'),
    "NaN": (r'"accuracy":[\d.]+', '"accuracy":NaN'),
    "twice in an object": ('"accuracy":', '"accuracy":0.999,"accuracy":'),
    "twice in an object, the other first": (r'("accuracy":[\d.]+)', r'\1,"accuracy":0.999'),
    "a field twice": (r'("metrics": .*\n)', r'\1\1'),
    "hyper-parameter": ('"epsilon":0.98', '"epsilon":0.5'),
    "protocol": ('"protocol":"clean"', '"protocol":"images-eval"'),
    "seed": ('"seed":0', '"seed":7'),
    "course": ('"loss":0.7', '"loss":0.1'),
    "digest": ('"test_predictions":"[0-9a-f]{8}', '"test_predictions":"00000000'),
    "seal": ('"seal": "[0-9a-f]{8}', '"seal": "00000000'),
    "no seal": (r',\n"seal": "[0-9a-f]+"', ""),
    "a field more": ('"command"', '"comment": "x",\n"command"'),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_record_is_refused(results, tmp_path, edit):
    path = next(results.glob("*/los-*.json"))
    text = path.read_text()
    pattern, new = EDITS[edit]
    changed = re.sub(pattern, new, text, count=1)
    assert changed != text
    path.write_text(changed)
    for read in (
        lambda: leaderboard(results, statistics=False).csv,
        lambda: push(results, Destination(directory=tmp_path), plots=False),
        lambda: read_record(path),
    ):
        with pytest.raises(UserError, match=re.escape(str(path))) as error:
            read()
        assert "\n" not in str(error.value)
    assert not (tmp_path / "wandb").exists()
    path.write_text(text)
    assert len(leaderboard(results, statistics=False).frame) == 2


def test_another_layout_of_the_same_values_is_the_same_record(results):
    before = leaderboard(results).csv
    for path in Store(results).paths():
        path.write_text(json.dumps(json.loads(path.read_text()), indent=2, sort_keys=True))
    assert leaderboard(results).csv == before
    for path in Store(results).paths():
        data = json.loads(path.read_text())
        path.write_text("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in data.items()) + "\n}\n")
    assert leaderboard(results).csv == before


def test_flipped_bytes_of_a_record_never_change_a_table(results):
    path, generator = next(results.glob("*/los-*.json")), np.random.default_rng(0)
    content, before = path.read_bytes(), leaderboard(results, statistics=False).csv
    for position in generator.integers(len(content), size=150):
        path.write_bytes(content[:position] + bytes([content[position] ^ int(generator.integers(1, 256))]) + content[position + 1 :])
        try:
            after = leaderboard(results, statistics=False).csv
        except UserError as error:
            after, line = None, str(error)
        assert after in (None, before)
        assert after is not None or "\n" not in line


def test_an_accuracy_that_its_predictions_do_not_give_is_refused_though_it_is_sealed(results, tmp_path, builder):
    path = next(results.glob("*/los-*.json"))
    data = json.loads(path.read_text())
    data["metrics"]["test"]["accuracy"] = 0.999
    path.write_text(json.dumps(sealed(data)))
    for read in (lambda: leaderboard(results).csv, lambda: push(results, Destination(directory=tmp_path), plots=False)):
        with pytest.raises(UserError, match=r"says test accuracy 0\.999000, and its predictions give 0\.\d+"):
            read()


@pytest.mark.parametrize("metric", ["macro_accuracy", "many", "few"])
def test_other_accuracies_are_recomputed_too(results, metric):
    path = next(results.glob("*/los-*.json"))
    data = json.loads(path.read_text())
    assert abs(data["metrics"]["test"][metric] - 0.999) > 0.01
    data["metrics"]["test"][metric] = 0.999
    path.write_text(json.dumps(sealed(data)))
    with pytest.raises(UserError, match=rf"says test {metric.replace('_', ' ')} 0\.999000, and its predictions give 0\.\d+"):
        _ = leaderboard(results).csv


def test_arrays_of_another_run_are_refused_array_by_array(results):
    one, other = (next(results.glob(f"*/{name}-*.npz")) for name in ("los", "ce"))
    shutil.copyfile(other, one)
    runs = load_records(results)
    position = next(i for i, path in enumerate(runs.columns["path"]) if "los-" in path)
    for name in ("test_predictions", "test/class_accuracy"):
        with pytest.raises(UserError, match=f"{name} is not the one that was recorded"):
            runs.array(position, name)
    assert runs.find_array(position, "course/epoch") is None
    assert np.array_equal(runs.array(1 - position, "test_predictions"), np.load(other)["test_predictions"])
    one.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        runs.find_array(position, "test_predictions")


def test_the_course_of_a_fit_is_under_the_seal_and_not_read(results, builder):
    record, arrays = builder.make("cb", 0, 0.5)
    course = [{"epoch": float(epoch), "loss": 0.5, "lr": 0.1} for epoch in range(3)]
    store, training = Store(results), dataclasses.replace(record.training, history=course)
    path = store.path(store.write(dataclasses.replace(record, training=training), arrays))
    assert '"history":[{"epoch":0.0,' in path.read_text()
    assert len(load_records(results).columns["id"]) == 3
    assert read_record(path).training.history == course
