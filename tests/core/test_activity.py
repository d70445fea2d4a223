"""Lines that say how far a command is."""

import io
import re
from time import sleep

import pytest

from lt_bench.core import activity
from lt_bench.core.activity import Work, doing, shown, steps


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(activity, "EVERY", 0.02)
    monkeypatch.setattr(activity, "OFTEN", 0.02)


def line_after(said, part=""):
    """Wait for the next line that has a part, for as long as a busy machine may take."""
    begin = len(said.getvalue())
    for _ in range(3000):
        if part in said.getvalue()[begin:] and len(said.getvalue()) > begin:
            return
        sleep(0.02)


def slowly(items, what, said):
    """Each item once a line is said of it."""
    return [line_after(said) or item for item in steps(items, what)]


def test_without_a_terminal_lines_say_the_count_and_the_time_left():
    said = io.StringIO()
    with shown(said):
        assert slowly(range(4), "records read", said) == [0, 1, 2, 3]
    lines = said.getvalue().splitlines()
    assert len(lines) >= 4
    assert all(re.fullmatch(r"0 of 4 records read|[1-3] of 4 records read, \d:\d\d:\d\d left", line) for line in lines)
    assert lines[-1].startswith("3 of 4 records read, ")


def test_the_innermost_work_is_said_in_eighty_columns():
    said = io.StringIO()
    with shown(said), doing("all of it"):
        slowly(iter("ab"), "things " * 20, said)
        slowly([], "nothing", said)
        line_after(said, "all of it")
    lines = said.getvalue().splitlines()
    assert {len(line) for line in lines if "things" in line} == {79}
    assert lines[-1].startswith("all of it, 0:")


def test_a_terminal_has_one_line_which_is_gone_when_the_work_ends():
    said = Terminal()
    with shown(said):
        slowly("ab", "letters", said)
        written = said.getvalue()
        said.write("the outcome")
    assert "\n" not in written
    assert written.endswith("\r\x1b[2K")
    assert said.getvalue().endswith("the outcome")


def test_what_fails_leaves_no_line_behind_and_python_is_not_told():
    said = io.StringIO()
    with shown(said):
        with pytest.raises(ValueError, match="broken"), doing("work"):
            raise ValueError("broken")
        assert not activity._shown.works
    before = said.getvalue()
    assert list(steps("ab", "letters")) == ["a", "b"]
    assert said.getvalue() == before


def test_work_that_is_broken_off_leaves_no_line_and_its_name_steers_no_terminal():
    said = Terminal()
    with shown(said):
        work = steps("ab", "files of \x1b[31mred")
        next(work)
        line_after(said, "red")
    assert said.getvalue().endswith("\r\x1b[2K")
    assert "\x1b[31m" not in said.getvalue()
    work.close()


def test_the_time_left_is_of_what_is_done_here_and_is_not_cut(monkeypatch):
    monkeypatch.setattr(activity, "monotonic", lambda: 40.0)
    goes_on = Work("epochs " * 20, total=6, done=2, before=2, began=30.0)
    assert goes_on.line(20) == "2 of 6 epochs epoch…"
    goes_on.done, goes_on.begun = 3, 0.5
    assert (goes_on.time, goes_on.counted[:13]) == ("0:00:17 left", "3 of 6 epochs")
    assert goes_on.line(30) == "3 of 6 epochs e…, 0:00:17 left"


def test_the_time_left_grows_shorter_within_a_long_step(monkeypatch):
    epochs = Work("epochs", total=10, began=0.0)
    said = []
    for now, epochs.done in ((50.0, 1), (70.0, 1), (90.0, 1), (100.0, 2), (1000.0, 2)):
        monkeypatch.setattr(activity, "monotonic", lambda now=now: now)
        said.append(epochs.time)
    assert said == [f"{left} left" for left in ("0:07:30", "0:07:10", "0:06:50", "0:06:40", "0:00:00")]


def test_the_time_left_counts_what_follows(monkeypatch):
    """Ten of twenty done in ten seconds: ten are left, and five of what comes after them."""
    monkeypatch.setattr(activity, "monotonic", lambda: 10.0)
    assert Work("fits", total=20, done=10, began=0.0).time == "0:00:10 left"
    assert Work("fits", total=20, done=10, began=0.0, later=5).time == "0:00:15 left"
    assert Work("fits", total=20, done=10, began=0.0, later=5).counted == "10 of 20 fits"
