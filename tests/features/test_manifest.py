import dataclasses
import json
import re
from dataclasses import replace

import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.features.cache import open_cache
from lt_bench.features.manifest import cache_key, key_fields, parted, read_manifest, with_head

KEY_CHANGES = {
    "split": {"dataset": {"split_hash": "6" * 16}},
    "transform": {"transform": {"evaluation": "other", "augmentation": "noise"}},
    "dtype": {"dtype": "float16"},
    "views": {"without": ("train/features/aug2",)},
    "splits": {"without": ("val",)},
    "class names": {"dataset": {"class_names": ("label", *(f"class {k}" for k in range(1, 6)))}},
    "validation seen": {"dataset": {"val_seen_by_backbone": True}},
    "data set": {"dataset": {"name": "cifar100_lt"}},
    "imbalance factor": {"dataset": {"imbalance_factor": 60.0}},
}


@pytest.fixture(scope="module")
def manifest(small_cache):
    return read_manifest(small_cache)


@pytest.mark.parametrize("change", KEY_CHANGES)
def test_the_key_changes_with_what_the_features_are(tmp_path, make_cache, manifest, change):
    assert read_manifest(make_cache(tmp_path / "cache", **KEY_CHANGES[change])).key != manifest.key


def test_the_key_covers_every_key_field(manifest):
    fields = key_fields(manifest)
    described = {
        "dataset",
        "imbalance_factor",
        "class_names",
        "train_counts",
        "val_seen_by_backbone",
        "backbone",
        "split_hash",
        "weights_hash",
    }
    assert set(fields) == {*described, "transform", "dtype", "views", "format", "arrays"}
    keys = {cache_key(fields)} | {cache_key({**fields, name: "changed"}) for name in fields}
    assert len(keys) == len(fields) + 1


@pytest.mark.parametrize("array", ["train/labels", "test/labels", "test/rows", "val/features/plain", "train/features/aug2", "head/bias"])
def test_the_key_covers_every_value_of_every_array(tmp_path, make_cache, arrays, manifest, array):
    given = {"test/rows": torch.arange(42), **arrays()}[array]
    assert read_manifest(make_cache(tmp_path / "same", arrays={array: given.clone()})).key == manifest.key
    assert read_manifest(make_cache(tmp_path / "other", arrays={array: given.flip(0)})).key != manifest.key


def test_the_key_does_not_depend_on_where_arrays_lie(manifest):
    moved = {
        name: replace(info, parts=tuple(replace(part, file="x.safetensors", key="x") for part in info.parts))
        for name, info in manifest.arrays.items()
    }
    assert replace(manifest, arrays=moved).key == manifest.key


def test_audit_and_independence_are_kept_and_are_not_of_the_key(tmp_path, make_cache, manifest):
    said = {"audit": {"duplicates": 3}, "independence": {"backbone": "unknown"}}
    told = read_manifest(make_cache(tmp_path / "told", **said))
    assert (told.audit["duplicates"], told.independence, told.key) == (3, said["independence"], manifest.key)


def test_the_key_does_not_depend_on_name_or_origin(tmp_path, make_cache, manifest):
    assert read_manifest(make_cache(tmp_path / "other", name="other", origin="elsewhere", command="x")).key == manifest.key
    backbone = dataclasses.replace(manifest.backbone, weights_hash="c" * 16)
    assert dataclasses.replace(manifest, backbone=backbone).key != manifest.key


def test_round_trip(manifest, tmp_path):
    (tmp_path / "manifest.json").write_text(manifest.to_json())
    assert read_manifest(tmp_path) == manifest


def damaged(small_cache, tmp_path, change):
    document = json.loads((small_cache / "manifest.json").read_text())
    change(document)
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(UserError) as caught:
        open_cache(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    return str(caught.value)


ALTERATIONS = {
    "key": (lambda d: d.update(key="0" * 16), "does not fit the manifest's own fields"),
    "split hash": (lambda d: d["dataset"].update(split_hash="0" * 16), "does not fit the manifest's own fields"),
    "weights hash": (lambda d: d["backbone"].update(weights_hash="0" * 16), "does not fit the manifest's own fields"),
    "transform": (lambda d: d["transform"].update(evaluation="resize"), "does not fit the manifest's own fields"),
    "a view gone": (lambda d: d["views"].update(train=["plain", "aug1"]), "does not fit the manifest's own fields"),
    "a view more": (lambda d: d["views"].update(test=["plain", "flip", "other"]), "the test split lacks test/features/other"),
    "format": (lambda d: d.update(format=99), "cache format 99, this version reads 2"),
    "earlier format": (lambda d: d.update(format=1), "cache format 1, this version reads 2; `lt-bench migrate .*` brings it up to date"),
    "origin": (lambda d: d.update(origin="elsewhere"), "altered after it was written"),
    "independence": (lambda d: d.update(independence={"overlap": 0}), "altered after it was written"),
    "no seal": (lambda d: d.pop("seal"), "altered after it was written"),
    "no format": (lambda d: d.pop("format"), "cache format None"),
    "no views": (lambda d: d.pop("views"), "manifest lacks or garbles 'views'"),
    "unknown field": (lambda d: d["dataset"].update(colour="red"), "manifest lacks or garbles .*colour"),
    "counts are words": (lambda d: d["dataset"].update(train_counts=["many"]), "manifest lacks or garbles"),
    "counts": (lambda d: d["dataset"].update(train_counts=[60, 41, 25, 13, 5, 2]), "train counts of 146 images for 145 labels"),
    "names": (lambda d: d["dataset"]["class_names"].pop(), "5 class names for 6 train counts"),
    "rows of a part": (
        lambda d: d["arrays"]["val/labels"]["parts"][0].update(rows=24),
        "the parts of val/labels do not add up to its 25 rows",
    ),
    "shape": (lambda d: d["arrays"]["test/features/flip"].update(shape=[42, 9]), "the arrays of the test split do not fit"),
    "dimension": (lambda d: d["backbone"].update(dim=9), "do not fit each other or the feature dimension 9"),
    "no labels": (lambda d: d["arrays"].pop("train/labels"), "the train split lacks train/labels"),
    "no test": (lambda d: d["views"].pop("test"), "there is no train or no test split"),
    "outside": (lambda d: d["arrays"]["val/labels"]["parts"][0].update(file="../x.safetensors"), "lies outside the cache"),
}


@pytest.mark.parametrize("what", ALTERATIONS)
def test_altered(small_cache, tmp_path, what):
    change, message = ALTERATIONS[what]
    said = damaged(small_cache, tmp_path, change)
    assert re.search(message, said), said


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b'{"format": 1}'])
def test_not_a_manifest(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.json: ") as caught:
        open_cache(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_manifest(tmp_path):
    with pytest.raises(UserError, match=r"not a feature cache \(no manifest\.json\)"):
        open_cache(tmp_path)


@pytest.mark.parametrize("stage1", ["", "200 epochs; cosine", "in a lab; head: of another"])
def test_what_is_said_of_a_head_parts_from_its_stage_1(stage1):
    both = with_head(stage1, "logistic regression; by us")
    assert parted(both) == (stage1, "logistic regression; by us")
    assert not both.startswith(";")
