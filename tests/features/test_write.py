import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file

from lt_bench.core.errors import UserError
from lt_bench.features.cache import open_cache
from lt_bench.features.encoding import decode_affine8, encode_affine8
from lt_bench.features.locate import known_caches
from lt_bench.features.write import publish, write_cache


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_round_trip(tmp_path, arrays, make_cache, dtype):
    cache = open_cache(make_cache(tmp_path / "cache", dtype=dtype))
    given = arrays()
    for split, views in (("train", ("plain", "aug1", "aug2")), ("val", ("plain",)), ("test", ("plain", "flip"))):
        got = cache.split(split)
        assert got.views == views
        assert got.labels.tolist() == given[f"{split}/labels"].tolist()
        for view in views:
            assert torch.equal(got.view(view), given[f"{split}/features/{view}"].to(getattr(torch, dtype)))
    assert cache.split("train").rows.tolist() == given["train/rows"].tolist()
    assert cache.split("test").rows.tolist() == list(range(42))  # not given: positions
    head = cache.head()
    assert head is not None
    assert torch.equal(head.weight, given["head/weight"])
    assert torch.equal(head.bias, given["head/bias"])
    assert leftovers(tmp_path) == ["cache"]


def test_head_and_val_are_optional(tmp_path, make_cache):
    cache = open_cache(make_cache(tmp_path / "bare", without=("head", "val")))
    assert cache.head() is None
    assert not cache.has("val")
    without_bias = open_cache(make_cache(tmp_path / "no-bias", without=("head/bias",))).head()
    assert without_bias is not None
    assert without_bias.bias.tolist() == [0.0] * 6


columns = st.floats(-1000, 1000, width=32)


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=columns))
@settings(max_examples=60, deadline=None)
def test_affine8_is_within_half_a_step(values):
    features = torch.from_numpy(values)
    codes, scale, offset = encode_affine8(features)
    assert codes.dtype == torch.uint8
    error = (decode_affine8(codes, scale, offset).double() - features.double()).abs()
    half_precision = features.double().abs() * 2**-11 + 2**-25
    step = (features.amax(0) - features.amin(0)).double() / 255
    assert (error <= step * (0.5 + 1e-4) + half_precision + features.abs().amax().double() * 2**-22).all()


def test_affine8_cache_is_decoded(tmp_path, arrays, make_cache):
    cache = open_cache(make_cache(tmp_path / "cache", dtype="affine8"))
    plain = arrays()["train/features/plain"]
    read = cache.split("train").view("plain")
    assert read.dtype == torch.float16
    span = plain.amax(0) - plain.amin(0)
    assert ((read.float() - plain).abs() <= span / 255 * 0.51 + plain.abs() / 1000).all()
    assert not torch.equal(read.float(), plain)  # it really is coded
    with pytest.raises(UserError, match="affine8 or compressed files cannot be mapped"):
        cache.split("train", mapped=True)


FAULTS = {
    "NaN": ({"train/features/aug1": (3, float("nan"))}, "train/features/aug1: NaN or infinity in 1 rows, the first is row 3"),
    "infinity": ({"test/features/flip": (0, float("inf"))}, "test/features/flip: NaN or infinity"),
    "label too high": ({"test/labels": (2, 6)}, r"test/labels: found 6, expected 0\.\.5"),
    "label negative": ({"val/labels": (0, -1)}, r"val/labels: found -1, expected 0\.\.5"),
    "NaN in head": ({"head/weight": (1, float("nan"))}, "head/weight holds NaN"),
    "moved label": ({"train/labels": (0, 5)}, "train/labels: its images per class are not the train_counts"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_values_that_make_no_cache(tmp_path, arrays, make_cache, fault):
    changes, message = FAULTS[fault]
    changed = arrays()
    for name, (row, value) in changes.items():
        changed[name][row] = value
    with pytest.raises(UserError, match=message) as caught:
        make_cache(tmp_path / "cache", arrays=changed)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []


SHAPES = {
    "head/weight": (torch.zeros(5, 8), r"head/weight has shape \(5, 8\), expected \(6, 8\) = \(classes, feature dimension\)"),
    "head/bias": (torch.zeros(7), r"head/bias has shape \(7,\), expected \(6,\)"),
    "val/features/plain": (torch.zeros(25, 9), r"val/features/plain has shape \(25, 9\), expected \(25, 8\)"),
    "test/features/flip": (torch.zeros(41, 8), r"test/features/flip has shape \(41, 8\), expected \(42, 8\)"),
    "test/labels": (torch.zeros(42), "test/labels: expected a vector of integers"),
    "test/rows": (torch.arange(41), "test/rows: expected 42 integers"),
    "val/labels": (torch.zeros(0, dtype=torch.long), "val/labels is empty"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_make_no_cache(tmp_path, make_cache, name):
    tensor, message = SHAPES[name]
    with pytest.raises(UserError, match=message):
        make_cache(tmp_path / "cache", arrays={name: tensor})
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["train/features/plain", "test/features/plain", "train/labels"])
def test_what_is_required(tmp_path, make_cache, name):
    with pytest.raises(UserError, match=f"{name} is missing"):
        make_cache(tmp_path / "cache", without=(name,))


def test_labels_from_one_get_a_hint(tmp_path, arrays, make_cache):
    with pytest.raises(UserError, match="labels from 1"):
        make_cache(tmp_path / "cache", arrays={"test/labels": arrays()["test/labels"] + 1})


@pytest.mark.parametrize("dtype", ["float16", "affine8"])
def test_values_beyond_half_precision_need_float32(tmp_path, arrays, make_cache, dtype):
    large = {"train/features/plain": arrays()["train/features/plain"] + 1e5}
    with pytest.raises(UserError, match="train/features/plain: values beyond the range of float16"):
        make_cache(tmp_path / dtype, arrays=large, dtype=dtype)
    cache = open_cache(make_cache(tmp_path / "float32", arrays=large, dtype="float32"))
    assert torch.equal(cache.split("train").view("plain"), large["train/features/plain"])


def test_an_existing_directory_is_kept(tmp_path, make_cache):
    make_cache(tmp_path / "cache")
    before = (tmp_path / "cache" / "manifest.json").read_bytes()
    with pytest.raises(UserError, match="exists already"):
        make_cache(tmp_path / "cache", dtype="float16")
    assert (tmp_path / "cache" / "manifest.json").read_bytes() == before


def test_a_place_that_cannot_be_written(tmp_path, make_cache):
    (tmp_path / "file").write_text("a regular file")
    with pytest.raises(UserError, match=r"file/cache: cannot write the cache"):
        make_cache(tmp_path / "file" / "cache")


def test_a_full_disk_leaves_nothing(tmp_path, make_cache):
    """A real error of the operating system in the middle of a file: a limit on its size."""
    ignored, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot write the cache") as caught:
            make_cache(tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []


def test_an_error_at_the_last_step_leaves_nothing(tmp_path, monkeypatch, make_cache):
    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(UserError, match="No space left on device"):
        make_cache(tmp_path / "cache")
    assert leftovers(tmp_path) == []


def test_what_a_killed_process_left_among_the_files_is_no_part_of_the_cache(tmp_path, arrays, description):
    """Killed while it gave the files of an unfinished extraction their permissions, and while it wrote one."""
    write_cache(tmp_path / "whole", description("cache"), arrays())
    files = list((tmp_path / "whole").glob("*.safetensors"))
    parts = {name: [(path.name, name, tensor)] for path in files for name, tensor in load_file(path).items()}
    for path in files:
        for ending in ("mode", "partial"):
            (tmp_path / "whole" / f".{path.name}.{ending}").touch()
    publish(tmp_path / "whole", tmp_path / "cache", description("cache"), parts)
    assert not list((tmp_path / "cache").glob(".*"))
    open_cache(tmp_path / "cache").verify()


def test_a_killed_writer_leaves_no_cache(tmp_path, monkeypatch, arrays, description):
    """Killed before the last rename, with no chance to clear up: no directory of the cache's name, and what lies about is not taken for a cache."""

    def killed(*_, **__):
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        patched.setattr("lt_bench.features.write.shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            write_cache(tmp_path / "caches" / "cache", description("cache"), arrays())
    assert not (tmp_path / "caches" / "cache").exists()
    assert [path.name.endswith(".partial") for path in (tmp_path / "caches").iterdir()] == [True]
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path))
    assert not [path for path, _ in known_caches() if tmp_path in path.parents]
    write_cache(tmp_path / "caches" / "cache", description("cache"), arrays())  # and the name is free
    assert [path.name for path, _ in known_caches() if tmp_path in path.parents] == ["cache"]
