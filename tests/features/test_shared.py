import warnings
from dataclasses import replace

import numpy as np
import pytest

import lt_bench as lt
from lt_bench.cli.main import main
from lt_bench.features.locate import shipped
from lt_bench.features.manifest import read_manifest
from lt_bench.features.shared import shared_of

rng = np.random.default_rng(0)
MEANS = rng.normal(size=(5, 24))
LABELS, OF_TEST = np.repeat(np.arange(5), [60, 40, 30, 20, 10]), np.repeat(np.arange(5), 20)
TRAIN, TEST = (MEANS[labels] + rng.normal(size=(len(labels), 24)) for labels in (LABELS, OF_TEST))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_copied_test_rows_reach_the_record_and_every_format_of_the_board(tmp_path):
    copied = TEST.copy()
    copied[:30] = TRAIN[:30]
    runs = []
    for name, test in (("clean", TEST), ("leaky", copied)):
        cache = lt.Cache.from_arrays(TRAIN, LABELS, test=(test, OF_TEST), head=None, name=name)
        runs += lt.fit("ncm", cache, seeds=[0])
        assert runs[-1].record.cache.shared == ({} if name == "clean" else {"test in train": [30, 100]})
    said = "30 of 100 test images (30.0 %) are also training images"
    for run, times in zip(runs, (0, 1), strict=True):
        board = lt.leaderboard([run])
        assert board.markdown.count(f"- Splits are not independent: {said}.") == times
        paths = board.write(tmp_path / str(times), ("csv", "latex", "html"))
        assert [path.read_text().replace(r"\%", "%").replace(r"\,%", " %").count(said) for path in paths] == [times] * 3
    both = lt.leaderboard(runs).frame.set_index("cache_key").shared_images
    assert both[[run.record.cache.key for run in runs]].notna().tolist() == [False, True]


def test_few_shared_images_are_chance_and_many_near_ones_are_said(small_cache):
    manifest = read_manifest(small_cache)
    audit = {
        "rows": {"train": 900, "val": 1000, "test": 10_000},
        "repeated_rows": {"train": 50, "test": 2, "test in train": 10, "val in train": 2, "test in val": 0},
        "near_rows": {"val": {"compared": 500, "near": 5}, "test": {"compared": 900, "near": 10}},
    }
    near = {"compared": {"train": 900, "val": 1000, "test": 9000}, "near_identical_to_training": {"val": 100, "test": 1234}}
    found = shared_of(replace(manifest, audit=audit, independence=near))
    assert found == {"val in train": [2, 1000], "test near train": [10, 900], "test like train": [1234, 9000]}
    assert shared_of(replace(manifest, audit={}, independence={})) == {}


def test_the_shipped_caches_share_nothing_that_matters():
    manifests = [read_manifest(path.parent) for path in shipped("checkpoints").glob("*/manifest.json")]
    assert manifests
    assert [shared_of(manifest) for manifest in manifests] == [{}] * len(manifests)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_choice_on_validation_that_was_trained_on_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    held = TEST.copy()
    held[::4] = TRAIN[:25]
    np.savez("train.npz", features=TRAIN, labels=LABELS)
    np.savez("held.npz", features=held, labels=OF_TEST)
    np.savez("test.npz", features=TEST + 0.1, labels=OF_TEST)
    words = ["--name", "leaky", "--train", "train.npz", "--val", "held.npz", "--test", "test.npz", "--stage1-head", "fit"]
    assert main(["import-features", *words]) == 0
    said = "25 of 100 validation images (25.0 %) are also training images. So validation chooses in part by remembering."
    for command in (
        ["tune", "--strategy", "logit_adjustment"],
        ["choose", "--strategies", "ncm,lda", "--seeds", "0"],
        ["budgets", "--strategies", "ncm,lda"],
        ["list", "caches", "leaky"],
    ):
        capsys.readouterr()
        assert main([*command, *(() if command[0] == "list" else ("--cache", "leaky", "--accelerator", "cpu"))]) == 0
        assert said in " ".join(capsys.readouterr().out.split())
    assert said in (tmp_path / "budgets" / "BUDGETS.md").read_text()


@pytest.mark.filterwarnings("ignore:(?!Splits are)")
def test_a_choice_in_python_on_validation_that_was_trained_on_is_a_warning():
    held = TEST.copy()
    held[::4] = TRAIN[:25]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaky, clean = (
            lt.Cache.from_arrays(TRAIN, LABELS, val=(val, OF_TEST), test=(TEST + 0.1, OF_TEST), head="fit") for val in (held, TEST - 0.1)
        )
    said = r"25 of 100 validation images \(25.0 %\) are also training images"
    for choose in (lambda cache: lt.tune("logit_adjustment", cache, seeds=0), lambda cache: lt.choose(cache, ["ncm"], folds=3)):
        with pytest.warns(UserWarning, match=said):
            choose(leaky)
        with warnings.catch_warnings(record=True) as heard:
            choose(clean)
        assert not any("Splits are" in str(one.message) for one in heard)
