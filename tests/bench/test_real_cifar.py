"""CIFAR-100-LT from the real parquet files, where they are ($LT_BENCH_SHARED_DATA or ../shared/data): extraction killed half-way and resumed gives the features
that another program made with the same weights."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lt_bench.features.cache import open_cache
from lt_bench.features.extraction.self_test import stage1_accuracy

SHARED = Path(os.environ.get("LT_BENCH_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FEATURES = SHARED / "features" / "cifar100_lt_if100_resnet32.safetensors"
STATED = 34.98  # per cent, of the stage-1 head on the plain test view


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not FEATURES.is_file(), reason="the real images and features are not here")
def test_killed_and_resumed_it_reproduces_the_features_and_the_accuracy(tmp_path):
    command = [
        sys.executable, "-c", "from lt_bench.cli.main import main; raise SystemExit(main())", "extract", "--dataset", "cifar100_lt", "--data-dir", str(SHARED), "--backbone", "resnet32",
        "--weights", str(SHARED / "features" / "resnet32_cifar100_lt_if100.weights.safetensors"), "--out", str(tmp_path / "cache"), "--views", "0",
        "--accelerator", "cpu",
    ]  # fmt: skip
    first = subprocess.Popen(command)
    while len(list(tmp_path.glob(".cache.*.extracting/done/*"))) < 4:  # of 11 shards
        assert first.poll() is None
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "cache").exists()
    subprocess.run(command, check=True)
    cache, theirs = open_cache(tmp_path / "cache"), load_file(FEATURES)
    for split, views in (("train", ("plain",)), ("val", ("plain",)), ("test", ("plain", "flip"))):
        found = cache.split(split)
        assert torch.equal(found.labels, theirs[f"{split}_labels"].long())
        for v, view in enumerate(views):
            ours, reference = found.view(view).float(), theirs[split][v].float()
            rounding = torch.finfo(torch.float16).eps * reference.abs() + 1e-5  # a step of float16; float32 sums in another order
            assert ((ours - reference).abs() <= rounding).all(), view
    assert torch.equal(cache.split("train").rows, theirs["train_rows"].long())
    assert stage1_accuracy(cache) == pytest.approx(STATED, abs=1e-4)
