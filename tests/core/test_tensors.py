import os

import pytest
import torch
from safetensors import SafetensorError

from lt_bench.core.tensors import save_tensors, stored_tensor

TENSORS = {"a": torch.arange(1000.0).view(100, 10), "b": torch.tensor([3, 1])}


@pytest.mark.parametrize("name", ["x.safetensors", "x.safetensors.gz"])
def test_tensors_come_back(tmp_path, name):
    save_tensors(TENSORS, tmp_path / name)
    for key, tensor in TENSORS.items():
        assert torch.equal(stored_tensor(tmp_path / name, key), tensor)
    with pytest.raises(SafetensorError):
        stored_tensor(tmp_path / name, "c")


def test_a_compressed_file_is_smaller_and_the_same_each_time(tmp_path):
    for name in ("x.safetensors", "x.safetensors.gz", "y.safetensors.gz"):
        save_tensors(TENSORS, tmp_path / name)
    assert (tmp_path / "x.safetensors.gz").stat().st_size < 0.7 * (tmp_path / "x.safetensors").stat().st_size
    assert (tmp_path / "x.safetensors.gz").read_bytes() == (tmp_path / "y.safetensors.gz").read_bytes()


def test_a_compressed_file_that_is_written_anew_is_read_anew(tmp_path):
    path = tmp_path / "x.safetensors.gz"
    save_tensors(TENSORS, path)
    assert stored_tensor(path, "b").tolist() == [3, 1]
    save_tensors({"b": torch.tensor([4])}, path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert stored_tensor(path, "b").tolist() == [4]


def test_bytes_behind_a_compressed_file_are_refused(tmp_path):
    path = tmp_path / "x.safetensors.gz"
    save_tensors(TENSORS, path)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(OSError, match="Not a gzipped file"):
        stored_tensor(path, "a")


@pytest.mark.parametrize("left", [0, 60, -10])
def test_a_compressed_file_that_was_cut_off(tmp_path, left):
    path = tmp_path / "x.safetensors.gz"
    save_tensors(TENSORS, path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises((OSError, SafetensorError)):
        stored_tensor(path, "a")
