"""The queue of trainings: in order, one at a time, paused, killed and gone on with; given weights; all runs in one file."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_image_files import write_cifar10
from stage1_runs import stage1

from benchmarks.evidence import queue as module
from benchmarks.evidence.given import take
from benchmarks.evidence.queue import command, running, status, work
from benchmarks.evidence.rows import read_rows, write_rows
from benchmarks.evidence.trainings import QUEUE, STRATEGIES, Training, heads
from lt_bench.backbones.training_rows import read_training_rows
from lt_bench.bench.suite.run import read_suite
from lt_bench.cli.request import parse
from lt_bench.core.errors import UserError
from lt_bench.data.hashes import pixel_hashes
from lt_bench.data.readers.small_images import load_small_images
from lt_bench.leaderboard.load import load_records

ROOT = Path(__file__).resolve().parents[2]
JOB = """
import os, sys, time
from pathlib import Path
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
log = folder / "log.csv"
for step in range(len(log.read_text().splitlines()) if log.exists() else 0, steps):
    with log.open("a") as file:
        file.write(f"{step},{os.getpid()},{os.nice(0)}\\n")
    time.sleep(0.05)
sys.exit(steps == 0)
"""
"""A training of so many epochs, which goes on from its log."""


@pytest.fixture
def queue(tmp_path, monkeypatch):
    (tmp_path / "job.py").write_text(JOB)
    monkeypatch.setattr(module, "PROGRAM", [sys.executable, str(tmp_path / "job.py")])
    monkeypatch.setattr(module, "NICE", 1)  # with 19 a busy machine would never come to it
    return [Training(name, (f"{{folder}} {steps}",)) for name, steps in (("short", 2), ("wrong", 0), ("long", 40))]


def started(tmp_path, queue):
    """The queue in a process of its own."""
    lines = (
        "from pathlib import Path; from benchmarks.evidence import queue as module; from benchmarks.evidence.trainings import Training",
        f"module.PROGRAM, module.NICE = {module.PROGRAM!r}, 1; module.work([Training(*one) for one in {[(one.name, one.commands) for one in queue]!r}], Path({str(tmp_path / 'home')!r}), Path({str(tmp_path)!r}))",
    )
    return subprocess.Popen([sys.executable, "-c", "\n".join(lines)], env=os.environ | {"PYTHONPATH": str(ROOT)})


def until(holds, what):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def epochs(tmp_path):
    path = tmp_path / "home" / "long" / "log.csv"
    return path.read_text().splitlines() if path.exists() else []


def test_the_queue_is_paused_killed_and_gone_on_with(tmp_path, queue, capsys):
    home = tmp_path / "home"
    worker = started(tmp_path, queue)
    try:
        until(lambda: len(epochs(tmp_path)) > 2, "the third training never began")
        assert running(home) == "long"
        with pytest.raises(UserError, match="a queue works here already"):
            work(queue, home, tmp_path)
        (home / "PAUSE").touch()
        job = int(epochs(tmp_path)[-1].split(",")[1])
        until(lambda: Path(f"/proc/{job}/stat").read_text().split()[2] == "T", "it was not stopped")
        assert "paused" in status(queue, home)[0]
    finally:
        worker.kill()
        worker.wait()
    until(lambda: running(home) is None, "the stopped training outlived its queue")
    before = len(epochs(tmp_path))
    lines = status(queue, home)
    assert "no queue works" in lines[0]
    assert [line.split()[:3] for line in lines[1:]] == [["1", "short", "done"], ["2", "wrong", "failed"], ["3", "long", "begun"]]
    (home / "PAUSE").unlink()
    assert work(queue, home, tmp_path) == ["wrong"]
    said = capsys.readouterr().out
    assert [line.split(",")[:2] for line in said.splitlines()] == [["2 of 3", " wrong: begins"], ["2 of 3", " wrong: failed"], ["3 of 3", " long: begins"], ["3 of 3", " long: done"]]  # fmt: skip
    steps, jobs, priorities = zip(*(line.split(",") for line in epochs(tmp_path)), strict=True)
    assert list(steps) == [str(step) for step in range(40)]  # none twice, none left out
    assert len(set(jobs[:before])) == len(set(jobs[before:])) == 1
    assert set(priorities) == {str(os.nice(0) + 1)}
    assert [line.split()[2] for line in status(queue, home)[1:]] == ["done", "failed", "done"]


def test_no_training_begins_without_the_images(tmp_path, queue):
    with pytest.raises(UserError, match="nowhere: no such folder; name the folder of the images with --data-dir"):
        work(queue, tmp_path / "home", tmp_path / "nowhere")
    assert not (tmp_path / "home").exists()


def test_every_command_of_the_queue_is_one_of_the_suite(tmp_path):
    assert len({training.name for training in QUEUE}) == len(QUEUE)
    by_name = {training.name: training for training in QUEUE}
    for name in (
        "c100_ordinary_s3",
        "r32_ldam_s0",
        "r32_ib_cb_recipe_ib",
        "r32_ldam_drw",
        "r32_seed0_ldam_drw",
        "r32_seed0_ib",
        "c100_if200_s0",
        "r34_los_s0",
    ):
        for number in range(len(by_name[name].commands)):
            verb, *words = command(by_name[name], number, tmp_path, tmp_path)
            options = parse(verb, words)
            if name == "c100_ordinary_s3" and verb == "pretrain":
                assert (options.seed, options.recipe_fields, options.backbone) == (3, {"weight_decay": 4e-4}, "resnet10s2")
            if name == "r32_seed0_ib":
                assert (options.selection, options.recipe) == ("seed0", "ib")
                assert options.phase1 == tmp_path / "r32_seed0_ldam_s1" / "epoch-100.ckpt"
            if name == "r32_ib_cb_recipe_ib":
                assert options.phase1 == tmp_path / "r32_ldam_s0" / "epoch-100.ckpt"
    (tmp_path / "heads.yaml").write_text(json.dumps(heads("cache")))
    assert read_suite(tmp_path / "heads.yaml").strategies == list(STRATEGIES)


def test_all_runs_are_rows_of_one_file(tmp_path):
    shipped = ROOT / "benchmarks" / "results" / "shipped"
    out = tmp_path / "runs.parquet"
    assert write_rows([shipped, shipped], out) == len(list(shipped.glob("cifar100_lt/*.json")))  # each once
    rows, runs = read_rows(out).set_index("id"), load_records(shipped)
    for position in range(0, len(runs.columns["id"]), 9):
        row = rows.loc[runs.columns["id"][position]]
        for name in ("strategy", "hyperparameters", "seed", "code", "command", "tuning"):
            assert row[name] == runs.columns[name][position]
        assert row["test/accuracy"] == pytest.approx(runs.columns["test/accuracy"][position])
        assert np.mean(row["class_accuracy"]) == pytest.approx(row["test/accuracy"], abs=1e-6)  # the test set is balanced
    one = next(shipped.glob("cifar100_lt/*.json"))
    for path in (one, one.with_suffix(".npz")):
        (tmp_path / "one" / "cifar100_lt").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, tmp_path / "one" / "cifar100_lt" / path.name)
    assert write_rows([tmp_path / "one"], out) == len(rows)  # of records that are not at hand, too
    assert set(read_rows(out)["id"]) == set(rows.index)
    earlier = read_rows(out)
    tuned = earlier.index[(earlier["strategy"] == "los") & (earlier["tuning"] == "tuned")]
    earlier.loc[tuned, "grid_size"] = 24.0  # another grid has chosen the same point
    earlier["command"] = earlier["command"].str.replace("--cache ", "--cache /somewhere/", regex=False)
    earlier.to_parquet(out)
    assert write_rows([shipped], out) == len(rows) + len(tuned)
    assert sorted(read_rows(out).query("strategy == 'los' and tuning == 'tuned'")["grid_size"]) == [24.0] * len(tuned) + [35.0] * len(tuned)
    assert not read_rows(out)["command"].str.contains("/somewhere/").any()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_given_weights_and_a_training_become_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "NICE", 0)
    monkeypatch.setattr(
        "benchmarks.evidence.trainings.STRATEGIES", ["joint", "val_probe", {"name": "los", "axes": {"epsilon": [0.5, 0.9]}}]
    )
    data = write_cifar10(tmp_path / "data" / "cifar10", n_max=24).parent
    options = "--dataset cifar10_lt --imbalance-factor 4 --backbone resnet20 --recipe fast --epochs 2 --views 1 --accelerator cpu"
    trained = Training(
        "trained", (f"pretrain --data-dir {{data}} --out {{folder}} --seed 1 {options}", "bench {folder}.heads.yaml --results {results}")
    )
    given = Training("given", tuple(one.replace("--seed 1", "--seed 0") for one in trained.commands))
    elsewhere = tmp_path / "elsewhere"
    weights = stage1(dataset="cifar10_lt", data_dir=data, out=elsewhere, backbone="resnet20", recipe="fast", imbalance_factor=4, epochs=2, views=1, accelerator="cpu", progress=False).weights  # fmt: skip
    with pytest.raises(UserError, match="seed 0 instead of 1; nothing was taken"):
        take(trained, elsewhere, tmp_path / "home", data)
    assert "as their plan says" in take(given, elsewhere, tmp_path / "home", data)
    images = load_small_images("cifar10_lt", data, imbalance_factor=4)
    assert set(read_training_rows(tmp_path / "home" / "given" / weights.name)) == set(pixel_hashes(images.splits["train"]))
    work([given, trained], tmp_path / "home", data)
    assert [line.split()[2] for line in status([given, trained], tmp_path / "home")[1:]] == ["done", "done"], (tmp_path / "home" / "given.log").read_text()  # fmt: skip
    assert write_rows([tmp_path / "home" / "results"], tmp_path / "runs.parquet") == 2 * (1 + 1 + 2 * 3)
    rows = read_rows(tmp_path / "runs.parquet")
    assert rows["cache_key"].nunique() == 2
    assert set(shlex.split(rows["command"].iloc[0])[:2]) == {"lt-bench", "run"}
