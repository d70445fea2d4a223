"""Files appear whole or not at all, with the permissions that the umask leaves, for the owner alone or for a group."""

import os

import pytest
import torch
from safetensors import SafetensorError

from lt_bench.backbones.weights import save_weights
from lt_bench.core.errors import UserError
from lt_bench.core.files import replacing, write_text
from lt_bench.core.tensors import save_tensors


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o002, 0o664)])
def test_the_umask_decides(umask, mode, tmp_path, make_cache):
    before = os.umask(umask)
    try:
        save_weights(torch.nn.Linear(2, 2), tmp_path / "w.safetensors")
        cache = make_cache(tmp_path / "cache")
    finally:
        os.umask(before)
    files = [tmp_path / "w.safetensors", *cache.iterdir()]
    assert {file.stat().st_mode & 0o777 for file in files} == {mode}
    assert len(files) > 2
    assert [file for file in files if file.suffix == ".mode"] == []


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = write_text(tmp_path / "folder" / "file", "old")
    with pytest.raises(KeyError), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyError
    assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [("file", "old")]


def test_tensors_that_cannot_be_written_are_an_error_of_the_system(tmp_path, monkeypatch):
    """safetensors has an error of its own for a full disk, which no verb would say in one line."""
    with pytest.raises(OSError, match="No such file or directory"):
        save_tensors({"a": torch.zeros(2)}, tmp_path / "nowhere" / "a.safetensors")

    def full(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("lt_bench.core.tensors.save_file", full)
    with pytest.raises(UserError, match=r"cannot write the weights .*No space left"):
        save_weights(torch.nn.Linear(2, 2), tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []
