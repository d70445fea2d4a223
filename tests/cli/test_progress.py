"""Progress of the fits of ``lt-bench run``."""

import io
from itertools import count
from types import SimpleNamespace

import pytest
from rich.console import Console

from lt_bench.cli import progress
from lt_bench.cli.progress import FitProgress


def test_a_run_says_now_and_then_how_far_its_fits_are(cli, small_cache, monkeypatch):
    seconds = count(step=6)
    monkeypatch.setattr(progress, "monotonic", lambda: next(seconds))  # 6 s an epoch: a line every other one
    fits = ("--seeds", "0,1", "--cache", "small", "--accelerator", "cpu")
    stack = cli("run", "--strategy", "crt", "--strategy.epochs", "4", *fits)
    assert stack.code == 0
    assert [line.partition(", loss")[0] for line in stack.err.splitlines()] == [f"crt, 2 heads: epoch {n} of 4" for n in (2, 4)]
    pool = cli("run", "--strategy", "focal,la_loss", *fits)
    assert pool.err.startswith("focal and 1 more, 4 heads: epoch ")
    assert cli("run", "--strategy", "los", "--strategy.epochs", "4", *fits, "-q").err == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_the_time_left_is_that_of_the_epochs_left_within_eighty_columns(terminal):
    file, now = io.StringIO(), iter([0.0, 4.0, 8.0, 12.0, 16.0])
    shown = FitProgress(Console(file=file, force_terminal=terminal, width=60, highlight=False), lambda: next(now))
    strategy = type("A" * 90, (), {})()
    fit = SimpleNamespace(current_epoch=2, max_epochs=6, lightning_module=strategy)  # goes on after two epochs
    shown.on_train_start(fit, strategy)
    for epoch in range(2, 6):
        fit.current_epoch = epoch
        shown.on_train_epoch_end(fit, strategy)
    shown.on_train_end(fit, strategy)
    if terminal:
        lines = [line for line in file.getvalue().split("\r\x1b[2K") if line]
        assert [line[line.index(":") :] for line in lines] == [f": epoch {n} of 6, 0:00:{4 * (6 - n):02} left" for n in (3, 4, 5, 6)]
        assert {len(line) for line in lines} == {59}
        assert file.getvalue().endswith("\r\x1b[2K")
    else:
        (line,) = file.getvalue().splitlines()
        assert (len(line), line[line.index(":") :]) == (79, ": epoch 5 of 6, 0:00:04 left")
