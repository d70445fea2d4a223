"""Refusals before torch is imported."""

import subprocess
import sys

import numpy as np
import pytest
from photos import write_photos

from lt_bench.bench.options import ExtractOptions, PretrainOptions
from lt_bench.cli import preflight
from lt_bench.core.errors import UserError

MISTAKES = {
    "run --strategy los --dataset nope": "no data set is called 'nope'",
    "run --strategy nope --dataset cifar100_lt": "unknown strategy 'nope'",
    "run --strategy los --cache nope": "no cache 'nope'",
    "run --strategy los --dataset inat2018": "no feature cache of inat2018 is here",
    "run --strategy los --dataset cifar100_lt --imbalance-factor 10": "there is cifar100_lt-if100-resnet10s2 (imbalance factor 100",
    "run --strategy los --dataset folder --data-dir . --backbone resnet20": "--weights FILE is missing; weights of your own come from `lt-bench pretrain",
    "run --strategy los --dataset folder --data-dir . --backbone resnet_20": "did you mean resnet20?",
    "run --strategy los --dataset folder --data-dir . --backbone resnet_20 --weights x": "did you mean resnet20?",
    "run --strategy los --dataset imagenet_lt --data-dir . --backbone paco --weights x": "x: no such weights file of PaCo",
    "run --strategy los --dataset cifar100_lt --cache cifar100_lt-if100-resnet10s2 --backbone resnet20": "features of resnet10s2",
    "tune --strategy los --dataset nope": "no data set is called 'nope'",
    "choose --cache cifar100_lt-if100-resnet10s2 --out /dev/null/x": "cannot be written there (Not a directory); choose another place with --out",
    "extract --dataset folder --data-dir nowhere": "nowhere: no such place",
    "extract --dataset folder --data-dir . --backbone resnet18 --weights hub": "did you mean torchvision.resnet18?",
    "pretrain --dataset folder --data-dir . --backbone resnet-18": "did you mean torchvision.resnet18?",
    "pretrain --dataset folder --data-dir . --recipe lost": "did you mean los?",
    "pretrain --recipe.weight_decya 4e-4": "unknown option --recipe.weight_decya (did you mean '--recipe.weight_decay'?)",
    "pretrain --recipe.batch_size 1.5": "--recipe.batch_size: expected a whole number, got 1.5",
    "pretrain --dataset folder --data-dir . --backbone resnet20 --recipe.lr=-1": "lr is -1.0, expected a finite number >= 0",
    "pretrain --dataset folder --data-dir . --backbone resnet20 --recipe.decay 0.1": "recipe los has no steps to multiply the rate at",
    "pretrain --seed.more 1": "unknown option --seed.more",
    "run --strategy los --recipe.lr 1": "unknown option --recipe.lr",
    "export --record nope.json": "nope.json: no file of a record",
    "verify nope.json": "nope.json: no file of a record",
    "predict nope .": "nope: no such exported classifier",
}


def test_mistakes_that_need_no_torch(tmp_path):
    code = (
        "import sys\nfrom lt_bench.cli.main import main\n"
        "for line in sys.argv[1:]:\n    print(main(line.split()), 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *MISTAKES], capture_output=True, text=True, cwd=tmp_path, check=True)
    said = done.stderr
    for message in MISTAKES.values():
        assert message in said
    assert said.count("\n2 False\n") == len(MISTAKES)


@pytest.fixture
def refused(cli, tmp_path, small_cache):
    """A function from the words of a command to its one line, before anything is written."""

    def line(*words):
        before = sorted(tmp_path.rglob("*"))
        done = cli(*words)
        assert (done.code, done.out, done.err.count("\n"), sorted(tmp_path.rglob("*"))) == (2, "", 1, before), done.err
        return done.err.removeprefix("lt-bench: ").rstrip()

    return line


def test_the_folders_that_results_go_to_are_checked_before_a_fit(refused, tmp_path, close):
    for name in ("embeddings", "tuning", "choices"):
        (tmp_path / "results" / name).mkdir(parents=True)
        close(tmp_path / "results" / name, 0o555)
    says = "cannot be written there (Permission denied); choose another place with --results"
    assert refused("run", "--strategy", "ncm", "--cache", "small") == f"results/embeddings: results {says}"
    assert refused("tune", "--strategy", "los", "--cache", "small") == f"results/tuning: results {says}"
    assert refused("choose", "--strategies", "ncm,los", "--cache", "small") == f"results/choices: results {says}"


def test_a_place_where_nothing_can_be_made_is_refused(refused):
    says = "/proc/lb: files cannot be written there (No such file or directory); choose another place with --out"
    assert refused("leaderboard", "--out", "/proc/lb") == says


def test_a_home_that_cannot_be_written_is_named_by_its_variable(refused, tmp_path, close, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("LT_BENCH_HOME", str(close(tmp_path / "home", 0o555)))
    np.savez(tmp_path / "x.npz", features=np.eye(4, 3), labels=np.arange(4) % 2)
    says = "the cache cannot be written there (Permission denied); choose another place with --out, or another home with LT_BENCH_HOME"
    words = ("import-features", "--name", "zz", "--train", "x.npz", "--test", "x.npz")
    assert refused(*words) == f"{tmp_path}/home/caches/zz: {says}"
    write_photos(tmp_path / "photos", {"a": 3, "b": 3})
    words = ("extract", "--dataset", "folder", "--data-dir", "photos", "--backbone", "torchvision.resnet18", "--name", "zz")
    assert refused(*words) == f"{tmp_path}/home/caches/zz: {says}"


def test_a_folder_of_other_things_gets_no_run_of_stage_1_but_logs_may_lie_there(tmp_path, monkeypatch):
    """``pretrain --out run1 > run1/log.txt``, or a log of Slurm's."""
    monkeypatch.setattr(preflight, "require_images", lambda *_: None)
    options = PretrainOptions(dataset="folder", data_dir=tmp_path, backbone="resnet20", out=tmp_path / "run1")
    preflight.pretrain(options)
    (tmp_path / "run1").mkdir()
    for name in ("log.txt", "slurm-12.out", "slurm-12.err", "run.log", ".plan.json.1.partial"):
        (tmp_path / "run1" / name).write_text("said")
    preflight.pretrain(options)
    (tmp_path / "run1" / "cats").mkdir()
    with pytest.raises(UserError, match=r"run1: holds other things and no run of stage 1; name a new place or an empty folder with --out$"):
        preflight.pretrain(options)
    (tmp_path / "run1" / "log.csv").write_text("of the user")
    with pytest.raises(UserError, match=r"log.csv: of no run that is known here"):
        preflight.pretrain(options)
    (tmp_path / "run1" / "plan.json").write_text("{}")
    preflight.pretrain(options)


def test_the_folder_above_a_cache_is_written_and_a_cache_that_is_there_is_not(tmp_path, close, make_cache, monkeypatch):
    """The lock, the unfinished cache and the renaming are in the folder above; one that is there is returned at once."""
    monkeypatch.setattr(preflight, "require_images", lambda *_: None)
    (tmp_path / "caches" / "empty").mkdir(parents=True)
    make_cache(tmp_path / "caches" / "there")
    close(tmp_path / "caches", 0o555)
    preflight.extract(ExtractOptions(dataset="folder", data_dir=tmp_path, backbone="resnet20", out=tmp_path / "caches" / "there"))
    with pytest.raises(UserError, match=r"caches/empty: the cache cannot be written there \(Permission denied\)"):
        preflight.extract(ExtractOptions(dataset="folder", data_dir=tmp_path, backbone="resnet20", out=tmp_path / "caches" / "empty"))
