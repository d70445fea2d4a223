"""Published files have the permissions that the umask leaves, for the owner alone or for a group."""

import os

import pytest
import torch

from lt_bench.backbones.weights import save_weights


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
