"""Arrays in memory become a cache: the same as those in files."""

import numpy as np
import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.features.cache import open_cache
from lt_bench.features.from_arrays import Source, prepare_arrays, write_prepared
from lt_bench.features.import_arrays import import_features

K, D = 3, 4


@pytest.fixture
def splits():
    rng = np.random.default_rng(0)
    labels = {"train": np.repeat(np.arange(K), (9, 4, 2)), "test": np.repeat(np.arange(K), 2)}
    return {split: {"features": rng.normal(size=(y.size, D)).astype(np.float32), "labels": y} for split, y in labels.items()}


def as_torch(splits, dtype=torch.float32):
    return {
        split: {"features": torch.from_numpy(arrays["features"]).to(dtype), "labels": torch.from_numpy(arrays["labels"])}
        for split, arrays in splits.items()
    }


@pytest.mark.parametrize("convert", [dict, as_torch])
def test_memory_and_files_give_one_key_and_nothing_is_printed(tmp_path, splits, convert, capsys):
    for split, arrays in splits.items():
        np.savez(tmp_path / f"{split}.npz", **arrays)
    weight = np.ones((K, D), np.float32)
    np.savez(tmp_path / "head.npz", weight=weight)
    files = import_features(
        name="mine",
        train=tmp_path / "train.npz",
        test=tmp_path / "test.npz",
        head=tmp_path / "head.npz",
        out=tmp_path / "a",
        dtype="float32",
    )
    memory = write_prepared(tmp_path / "b", prepare_arrays(convert(splits), Source("mine", dtype="float32"), {"weight": weight}))
    assert (memory.key, memory.path) == (files.key, tmp_path / "b")
    assert capsys.readouterr() == ("", "")
    assert torch.equal(open_cache(tmp_path / "b").split("train").view("plain"), torch.from_numpy(splits["train"]["features"]))


def test_brain_floats_and_class_names(tmp_path, splits):
    halved = as_torch(splits, torch.bfloat16)
    cache = write_prepared(tmp_path / "c", prepare_arrays(halved, Source("mine", class_names=("ant", "bee", "cat"))))
    assert cache.manifest.dataset.train_counts == (9, 4, 2)
    assert torch.equal(cache.split("test").view("plain").float(), halved["test"]["features"].float())


@pytest.mark.parametrize(
    ("change", "head", "message"),
    [
        ({"test": {"features": np.zeros((2, D), np.float32)}}, None, "test: no array 'labels'; it has features"),
        ({}, {"bias": np.zeros(K)}, "head: no array `weight`; it has bias"),
        ({}, {"weight": np.zeros((K, D + 1), np.float32)}, r"head/weight has shape \(3, 5\), expected \(3, 4\)"),
        (
            {"test": {"features": np.zeros((1, D), np.float32), "labels": np.array([7])}},
            None,
            "2 names, and .* of 8 classes",
        ),
    ],
)
def test_what_makes_no_cache(tmp_path, splits, change, head, message):
    names = ("a", "b") if "2 names" in message else None
    with pytest.raises(UserError, match=message):
        write_prepared(tmp_path / "d", prepare_arrays(splits | change, Source("mine", class_names=names), head))
    assert not (tmp_path / "d").exists()
