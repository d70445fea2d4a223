"""Progress of the fits of ``lt-bench run``."""

import io
import re
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


@pytest.fixture
def works(monkeypatch):
    """Works that a command shows, in their order: they are collected, since lines come by the clock."""
    shown, begin = [], activity._Shown.begin
    monkeypatch.setattr(activity._Shown, "begin", lambda self, work: shown.append(work) or begin(self, work))
    return shown


def test_a_run_and_its_repetition_count_epochs(cli, small_cache, tmp_path, monkeypatch, works):
    monkeypatch.setattr(progress, "OFTEN", 0.0)

    def fits_of(*line):
        works.clear()
        assert cli(*line).code == 0
        return [(re.sub(r"loss \d\S*:", "loss:", one.what), one.done, one.total) for one in works if one.what.startswith("epochs")]

    fits = ("--seeds", "0,1", "--cache", "small", "--accelerator", "cpu")
    assert fits_of("run", "--strategy", "crt", "--strategy.epochs", "4", *fits) == [("epochs, loss: crt, 2 heads", 4, 4)]
    assert [what for what, *_ in fits_of("run", "--strategy", "focal,la_loss", *fits)] == ["epochs, loss: focal and 1 more, 4 heads"]
    assert fits_of("run", "--strategy", "los", "--strategy.epochs", "4", *fits, "-q") == []
    (record, _) = sorted(str(path) for path in tmp_path.glob("results/*/crt-*.json"))
    assert fits_of("verify", record) == [("epochs, loss: crt", 4, 4)]
    assert fits_of("verify", record, "-q") == []


def test_verbs_over_many_files_say_how_far_they_are_unless_they_are_quiet(cli, builder, tmp_path, works):
    Store(tmp_path / "results").write(*builder.make("los", 0, 1.0))
    for verb, expected in {
        "leaderboard": [("records read", 1), ("boards compared", 1)],
        "validate": [("things to check in results", None), ("checked in results", 1)],
        "migrate": [
            ("files read", 1),
            *((f"{kind}s brought up to date", number) for kind, number in (("cache", 0), ("tuning", 0), ("record", 1))),
        ],
    }.items():
        line = [verb, *(["--results"] if verb == "leaderboard" else []), "results"]
        assert cli(*line).code == 0
        assert [(work.what, work.total) for work in works] == expected
        works.clear()
        assert cli(*line, "-q").code == 0
        assert not works


def test_the_fits_of_a_command_are_numbered_and_one_that_goes_on_has_epochs_behind_it(works):
    shown, strategy = FitProgress(), type("Short", (), {})()
    with activity.shown(io.StringIO()):
        for first in (0, 2):
            fit = SimpleNamespace(current_epoch=first, max_epochs=6, lightning_module=strategy)
            for _ in range(2):  # strategies of a pool
                shown.on_train_start(fit, strategy)
            for epoch in range(first, 4):
                fit.current_epoch = epoch
                shown.on_train_epoch_end(fit, strategy)
            shown.on_exception(fit, strategy, KeyboardInterrupt())
    assert [(one.what, one.before, one.done, one.total) for one in works] == [
        ("epochs: Short", 0, 4, 6),
        ("epochs of fit 2: Short", 2, 4, 6),
    ]


def test_a_tuning_says_every_ten_seconds_how_far_it_is(cli, small_cache, monkeypatch):
    """The lines come by the clock: here every 20 ms, and an epoch takes 10."""
    monkeypatch.setattr(activity, "EVERY", 0.02)
    monkeypatch.setattr(shares, "EVERY", 0.0)
    original = Member.end_epoch
    monkeypatch.setattr(Member, "end_epoch", lambda self, *given: (original(self, *given), sleep(0.01))[0])
    line = ("tune", "--strategy", "focal", "--strategy.epochs", "8", "--seeds", "0", "--cache", "small", "--accelerator", "cpu")
    done = cli(*line)
    assert done.code == 0
    assert max(map(len, done.err.splitlines())) <= 79
    far = [
        re.fullmatch(
            r"(\d+) of (\d+) fits(?:(?<=3 fits) of the best again|(?<=18 fits), then 3 again), small(?:; focal \(user\), seed 0 (\d+)%)?(?:, \d:\d\d:\d\d left)?",
            line,
        )
        for line in done.err.splitlines()
    ]
    assert all(far), done.err
    assert re.search(r"; focal .* left$", done.err, re.MULTILINE)
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
