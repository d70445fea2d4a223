"""Compressed copies of caches: what they hold, and what is said of damaged ones."""

import pytest
import torch

from benchmarks.ship_cache import compressed_copy
from lt_bench.core.errors import UserError
from lt_bench.features.cache import open_cache


@pytest.mark.parametrize("dtype", ["float16", "affine8"])
def test_a_copy_of_all_views_is_the_same_cache(tmp_path, make_cache, dtype):
    whole = open_cache(make_cache(tmp_path / "cache", dtype=dtype))
    copy = compressed_copy(whole, tmp_path / "copy")
    assert copy.key == whole.key
    assert copy.command == whole.manifest.command
    for split in ("train", "val", "test"):
        here, there = (open_cache(tmp_path / name).split(split) for name in ("copy", "cache"))
        assert torch.equal(here.blocks[0], there.blocks[0])
        assert torch.equal(here.labels, there.labels)
        assert torch.equal(here.rows, there.rows)
    assert torch.equal(open_cache(tmp_path / "copy").head().weight, whole.head().weight)
    with pytest.raises(UserError, match="compressed files cannot be mapped"):
        open_cache(tmp_path / "copy").split("train", mapped=True)


def test_without_a_view_it_is_another_cache_of_the_same_rows(tmp_path, make_cache):
    whole = open_cache(make_cache(tmp_path / "cache", dtype="affine8"))
    copy = compressed_copy(whole, tmp_path / "copy", ["train/aug1"])
    assert copy.key != whole.key
    assert copy.command.endswith("--without train/aug1")
    here, there = open_cache(tmp_path / "copy").split("train"), whole.split("train")
    assert here.views == ("plain", "aug2")
    assert all(torch.equal(here.view(view), there.view(view)) for view in here.views)


def test_a_view_that_is_not_there(tmp_path, make_cache):
    whole = open_cache(make_cache(tmp_path / "cache"))
    with pytest.raises(UserError, match="--without test/mirror: the views are"):
        compressed_copy(whole, tmp_path / "copy", ["test/mirror"])
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("file", ["train", "val", "test", "head"])
def test_damaged_files_are_named(tmp_path, make_cache, file):
    compressed_copy(open_cache(make_cache(tmp_path / "cache")), tmp_path / "copy")
    path = tmp_path / "copy" / f"{file}.safetensors.gz"
    content = path.read_bytes()
    for damaged in (b"", content[:-20], content[:50] + bytes([content[50] ^ 1]) + content[51:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"{file}\.safetensors\.gz: damaged or truncated"):
            open_cache(tmp_path / "copy").verify()
