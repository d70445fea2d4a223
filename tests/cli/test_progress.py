"""Progress of the fits of ``lt-bench run``."""

import io
import re
from itertools import count
from time import sleep
from types import SimpleNamespace

import pytest
from rich.console import Console

from lt_bench.bench.suite import shares
from lt_bench.cli import progress
from lt_bench.cli.progress import FitProgress
from lt_bench.core import activity
from lt_bench.engine.heads.pool import Member
from lt_bench.results.store import Store


def test_a_run_and_its_repetition_say_now_and_then_how_far_their_fits_are(cli, small_cache, tmp_path, monkeypatch):
    seconds = count(step=6)
    monkeypatch.setattr(progress, "monotonic", lambda: next(seconds))  # 6 s an epoch: a line every other one
    fits = ("--seeds", "0,1", "--cache", "small", "--accelerator", "cpu")
    stack = cli("run", "--strategy", "crt", "--strategy.epochs", "4", *fits)
    assert stack.code == 0
    assert [line.partition(", loss")[0] for line in stack.err.splitlines()] == [f"crt, 2 heads: epoch {n} of 4" for n in (1, 3)]
    pool = cli("run", "--strategy", "focal,la_loss", *fits)
    assert pool.err.startswith("focal and 1 more, 4 heads: epoch ")
    assert cli("run", "--strategy", "los", "--strategy.epochs", "4", *fits, "-q").err == ""
    (record, _) = sorted(str(path) for path in tmp_path.glob("results/*/crt-*.json"))
    again = cli("verify", record)
    assert [line.partition(", loss")[0] for line in again.err.splitlines()] == [f"crt: epoch {n} of 4" for n in (1, 3)]
    assert cli("verify", record, "-q").err == ""


def test_verbs_over_many_files_say_how_far_they_are_unless_they_are_quiet(cli, builder, tmp_path, monkeypatch):
    """Lines are collected, not waited for: the files are too few for ten seconds."""
    Store(tmp_path / "results").write(*builder.make("los", 0, 1.0))
    said, begin = [], activity._Shown.begin
    monkeypatch.setattr(activity._Shown, "begin", lambda self, work: said.append((work.what, work.total)) or begin(self, work))
    for verb, works in {
        "leaderboard": [("records read", 1), ("boards compared", 1)],
        "validate": [("things to check in results", None), ("checked in results", 1)],
        "migrate": [
            ("files read", 1),
            *((f"{kind}s brought up to date", number) for kind, number in (("cache", 0), ("tuning", 0), ("record", 1))),
        ],
    }.items():
        line = [verb, *(["--results"] if verb == "leaderboard" else []), "results"]
        assert cli(*line).code == 0
        assert said == works
        said.clear()
        assert cli(*line, "-q").code == 0
        assert not said


@pytest.mark.parametrize("terminal", [True, False])
def test_the_time_left_is_that_of_the_epochs_left_within_eighty_columns(terminal):
    file, now = io.StringIO(), iter([0.0, 0.0, 4.0, 8.0, 12.0, 16.0])
    shown = FitProgress(Console(file=file, force_terminal=terminal, width=60, highlight=False), lambda: next(now))
    strategy = type("A" * 90, (), {})()
    fit = SimpleNamespace(current_epoch=2, max_epochs=6, lightning_module=strategy)  # goes on after two epochs
    shown.on_train_start(fit, strategy)
    for epoch in range(2, 6):
        fit.current_epoch = epoch
        shown.on_train_epoch_end(fit, strategy)
    shown.on_train_end(fit, strategy)
    if terminal:
        first, *lines = [line for line in file.getvalue().split("\r\x1b[2K") if line]
        assert [line[line.index(":") :] for line in lines] == [f": epoch {n} of 6, 0:00:{4 * (6 - n):02} left" for n in (3, 4, 5, 6)]
        assert first[first.index(":") :] == ": epoch 2 of 6"
        assert {len(line) for line in lines} == {len(first)} == {59}
        assert file.getvalue().endswith("\r\x1b[2K")
    else:
        (line,) = file.getvalue().splitlines()
        assert (len(line), line[line.index(":") :]) == (79, ": epoch 5 of 6, 0:00:04 left")


def test_many_short_fits_say_every_ten_seconds_how_far_they_are():
    file, seconds = io.StringIO(), count(step=2)
    shown = FitProgress(Console(file=file, highlight=False), lambda: next(seconds))
    strategy = type("short", (), {})()
    for _ in range(6):  # of four seconds each
        fit = SimpleNamespace(current_epoch=0, max_epochs=2, lightning_module=strategy)
        shown.on_train_start(fit, strategy)
        for epoch in range(2):
            fit.current_epoch = epoch
            shown.on_train_epoch_end(fit, strategy)
        shown.on_train_end(fit, strategy)
    assert file.getvalue().splitlines() == [f"short, fit {n}: epoch 1 of 2, 0:00:02 left" for n in (2, 4, 6)]  # at 10, 22 and 34 seconds


def test_a_tuning_says_every_ten_seconds_how_far_it_is(cli, small_cache, monkeypatch):
    """The lines come by the clock: here every 20 ms, and an epoch takes 10."""
    monkeypatch.setattr(progress, "EVERY", 0.02)
    monkeypatch.setattr(shares, "EVERY", 0.0)
    original = Member.end_epoch
    monkeypatch.setattr(Member, "end_epoch", lambda self, *given: (original(self, *given), sleep(0.01))[0])
    line = ("tune", "--strategy", "focal", "--strategy.epochs", "8", "--seeds", "0", "--cache", "small", "--accelerator", "cpu")
    done = cli(*line)
    assert done.code == 0
    assert max(map(len, done.err.splitlines())) <= 79
    far = [
        re.fullmatch(r"(\d+) of (\d+) fits(?: of the best again)?, small(?:, \d:\d\d:\d\d left)?(?:; focal \(user\), seed 0 (\d+)%)?", line)
        for line in done.err.splitlines()
    ]
    assert all(far), done.err
    assert any("left; focal" in line for line in done.err.splitlines())
    inside = [int(one[3]) for one in far if one[3] and one[1] == "0" and one[2] == "18"]
    assert inside == sorted(inside)
    assert len(set(inside)) > 3
    assert cli(*line, "--results", "other", "-q").err == ""


def test_bars_fit_eighty_columns():
    file = io.StringIO()
    display = progress.Display(console=Console(file=file, force_terminal=True, width=80, highlight=False))
    bench = SimpleNamespace(manifest=SimpleNamespace(name="cifar100_lt-if100-resnet10s2-and-more-of-its-name"))
    unit = SimpleNamespace(name="balanced_softmax (tuned), seeds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11", runs=range(32))
    display.expects(bench, 64, recorded=32)
    with display:
        display.begins(0, unit)
        display.reaches(0, 0.5)
        display._progress.refresh()
        shown = file.getvalue()
        display.ends(0, unit, 32)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip("\r") for line in shown.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[-2].startswith("32 of 64 fits, cifar100_lt-if100")
    assert "75%" in lines[-2]
    assert lines[-2].rstrip().endswith("0:00:00 left")
    assert "50%" in lines[-1]
