from __future__ import annotations

import copy
import dataclasses
import json
import math
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator

from lt_bench.core.errors import UserError
from lt_bench.results.health import DIVERGENCE, WORDS, warnings_of, words
from lt_bench.results.record import RunRecord, schema


@pytest.fixture
def data(builder):
    return builder.make()[0].to_json()


def test_round_trip(builder):
    record, _ = builder.make()
    record.metrics["test"]["few"] = math.nan
    text = json.dumps(record.to_json(), allow_nan=False)
    again = RunRecord.from_json(json.loads(text))
    assert math.isnan(again.metrics["test"]["few"])
    assert again.to_json() == record.to_json()
    assert again.id == record.id


def test_health_is_kept_and_a_record_without_it_stays_as_it_was(builder):
    record, _ = builder.make()
    before = record.to_json()
    assert "health" not in before["training"]
    assert RunRecord.from_json(before).to_json() == before
    signs = {"loss_risen": math.inf, "one_class": 3, "no_gradient": "extra"}
    judged = dataclasses.replace(record, training=dataclasses.replace(record.training, health=signs))
    again = RunRecord.from_json(json.loads(json.dumps(judged.to_json(), allow_nan=False)))
    assert again.training.health == signs | {"loss_risen": None}
    assert (again.id, again.identity) == (record.id, record.identity)


def test_every_sign_has_words(builder):
    record, _ = builder.make("los", 1)
    signs = dict.fromkeys(WORDS, 0.5)
    judged = dataclasses.replace(record, training=dataclasses.replace(record.training, health=signs))
    (line,) = warnings_of([judged, dataclasses.replace(record, training=dataclasses.replace(record.training, health={}))])
    assert line.startswith("los (official), seed 1: the fit looks wrong: ")
    assert line.count("; ") >= len(signs) - 1
    assert set(WORDS) >= DIVERGENCE
    assert words({"loss_risen": None}) == "the training loss rose to nan"


def test_the_id_follows_the_identity_alone(builder):
    record, _ = builder.make(seed=0)
    assert dataclasses.replace(record, command="other").id == record.id
    assert builder.make(seed=1)[0].id != record.id
    assert builder.make(hyperparameters={"epsilon": 0.9})[0].id != record.id


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("dataset", "num_classes"), "ten", "dataset.num_classes"),
        (("dataset", "train_counts"), [3, -1], "dataset.train_counts.1"),
        (("identity", "protocol"), "peeked", "identity.protocol"),
        (("tuning", "selected_on"), "test", "tuning.selected_on"),
        (("time", "finished"), "yesterday", "time.finished"),
        (("strategy", "name"), "../los", "strategy.name"),
        (("metrics", "test"), {}, "metrics.test"),
        (("schema",), 3, "schema is 3, this version reads 2"),
        (("schema",), 1, "`lt-bench migrate results/x.json` brings it up to date"),
        (("metrics", "test", "accuracy"), 0.999, "altered after it was written"),
        (("metrics", "test", "accuracy"), 7.3, "altered after it was written"),
        (("metrics", "test", "accuracy"), True, "metrics.test.accuracy"),
        (("arrays",), {"test_labels": "0" * 64}, "altered after it was written"),
        (("environment", "dirty"), True, "altered after it was written"),
        (("seal",), "0" * 64, "altered after it was written"),
        (("identity", "seed"), 7, "id is"),
        (("cache", "key"), "other", "cache.key"),
    ],
)
def test_errors_name_file_and_field(data, path, value, said):
    broken = copy.deepcopy(data)
    target = broken
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    with pytest.raises(UserError) as error:
        RunRecord.from_json(broken, "results/x.json")
    assert str(error.value).startswith("results/x.json: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_and_an_unknown_field_are_errors(data):
    del data["seeds"]
    with pytest.raises(UserError, match="seeds"):
        RunRecord.from_json(data)
    data["seeds"] = {"repetition": 0, "init": 0, "order": 0, "varies": None, "best_epoch": 3}
    with pytest.raises(UserError, match="best_epoch"):
        RunRecord.from_json(data)


def test_the_schema_is_that_of_the_dataclasses():
    Draft202012Validator.check_schema(schema())
    shape = schema()["properties"]
    assert shape["schema"] == {"const": 2}
    assert shape["identity"]["properties"]["seed"] == {"type": "integer"}
    assert shape["tuning"]["properties"]["selected_on"] == {"enum": [None, "val"]}
    assert shape["training"]["properties"]["batch_size"] == {"type": ["integer", "null"], "minimum": 1}
    assert shape["dataset"]["properties"]["train_counts"] == {"type": "array", "items": {"type": "integer", "minimum": 0}}
    missing_allowed = {
        part: set(shape[part]["properties"]) - set(shape[part]["required"]) for part in ("strategy", "tuning", "environment")
    }
    assert missing_allowed == {
        "strategy": {"contract", "files"},
        "tuning": {"alone_best", "objective", "standard_error", "validation", "whole_grid"},
        "environment": set(),
    }


def test_no_torch():
    code = "import sys, lt_bench.results.store, lt_bench.core.environment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
