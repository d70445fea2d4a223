"""From the options of `lt-bench extract` and `pretrain` to a cache, and to the line that makes it again."""

import json
import shlex

import numpy as np
import pytest
import torch
from small_image_files import write_cifar10

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.bench.from_images import _command, cache_name
from lt_bench.bench.options import ExtractOptions, PretrainOptions
from lt_bench.features.cache import open_cache


def test_the_command_names_what_differs_from_the_usual():
    options = PretrainOptions(dataset="cifar100_lt", views=1, dtype="affine8")
    words = shlex.split(_command("pretrain", options, recipe="fast", epochs=None, precision="bf16", compiled=False, half_weights=True))
    assert words[:4] == ["lt-bench", "pretrain", "--data-dir", "DIR"]
    assert words[-5:] == ["--recipe", "fast", "--precision", "bf16", "--half-weights"]
    assert "--epochs" not in words
    assert "--compiled" not in words


def test_an_imbalance_factor_is_named_with_all_its_digits():
    """Another number is another cache."""
    names = []
    for factor in (33.3333, 33.3333333):
        options = ExtractOptions(dataset="cifar100_lt", backbone="resnet20", imbalance_factor=factor)
        words = shlex.split(_command("extract", options))
        assert words[words.index("--imbalance-factor") + 1] == str(factor)
        names.append(cache_name(options))
    assert names == ["cifar100_lt-if33.3333-resnet20", "cifar100_lt-if33.3333333-resnet20"]


@pytest.mark.usefixtures("light_resnet20")
def test_every_unseen_image_validates_and_is_said_from_extraction_to_board(cli, tmp_path, monkeypatch):
    """Beside the usual cache of the same images, with a name of its own; class 0 is all trained on and has none."""
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path))
    write_cifar10(tmp_path / "data" / "cifar10", n_max=24, val=False)
    torch.manual_seed(0)
    save_weights(build_backbone("resnet20", 10), tmp_path / "w.safetensors")
    asked = ("--dataset", "cifar10_lt", "--imbalance-factor", "8", "--backbone", "resnet20", "--data-dir", str(tmp_path / "data"))
    made = (*asked, "--weights", str(tmp_path / "w.safetensors"), "--views", "0", "--dtype", "float32", "--accelerator", "cpu")
    assert cli("extract", *made).code == 0
    done = cli("extract", *made, "--val-per-class", "all")
    assert done.code == 0
    cache = open_cache(tmp_path / "caches" / "cifar10_lt-if8-resnet20-valall")
    counts = [24 - n for n in cache.manifest.dataset.train_counts]
    assert np.bincount(cache.split("val").labels.numpy(), minlength=10).tolist() == counts
    said = f"{sum(counts)} validation images, {counts[1]} to {counts[-1]} a class, none of airplane"
    assert f"lt-bench: {said}: all of train.parquet outside the subset" in done.err
    assert " --val-per-class all " in cache.manifest.command
    named = ("--strategy", "tau_norm", "--cache", "cifar10_lt-if8-resnet20-valall", "--accelerator", "cpu")
    assert cli("tune", *named, "--seeds", "0").code == 0
    (path,) = (tmp_path / "results" / "tuning").glob("*.json")
    document = json.loads(path.read_text())
    assert (document["validation"]["class_images"], document["classes_without_validation"]) == (counts, ["airplane"])
    assert cli("run", *named, "--tuned").code == 0
    assert cli("leaderboard", "--formats", "markdown").code == 0
    board = (tmp_path / "leaderboard" / "LEADERBOARD.md").read_text()
    assert f"Tuned: chosen on all {said}" in board
