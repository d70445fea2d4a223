"""Lines that say how far a command is."""

import io
from time import sleep

import pytest

from lt_bench.core import activity
from lt_bench.core.activity import doing, shown, steps


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(activity, "EVERY", 0.02)
    monkeypatch.setattr(activity, "OFTEN", 0.02)


def slowly(items, what):
    return [sleep(0.03) or item for item in steps(items, what)]


def test_without_a_terminal_lines_say_the_count_and_the_time_left():
    said = io.StringIO()
    with shown(said):
        assert slowly(range(4), "records read") == [0, 1, 2, 3]
    lines = said.getvalue().splitlines()
    assert len(lines) >= 3
    assert all(line.endswith("0:00:00 left") or line == "0 of 4 records read" for line in lines)
    assert lines[-1].startswith("3 of 4 records read, ")


def test_the_innermost_work_is_said_in_eighty_columns():
    said = io.StringIO()
    with shown(said), doing("all of it"):
        slowly(iter("ab"), "things " * 20)
        slowly([], "nothing")
        sleep(0.05)
    lines = said.getvalue().splitlines()
    assert {len(line) for line in lines if "things" in line} == {79}
    assert lines[-1] == "all of it, 0:00:00"


def test_a_terminal_has_one_line_which_is_gone_when_the_work_ends():
    said = Terminal()
    with shown(said):
        slowly("ab", "letters")
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
        sleep(0.05)
    assert said.getvalue() == ""
    assert slowly("ab", "letters") == ["a", "b"]
    assert said.getvalue() == ""


def test_work_that_is_broken_off_leaves_no_line_and_its_name_steers_no_terminal():
    said = Terminal()
    with shown(said):
        work = steps("ab", "files of \x1b[31mred")
        next(work)
        sleep(0.05)
    assert said.getvalue().endswith("\r\x1b[2K")
    assert "\x1b[31m" not in said.getvalue()
    work.close()
