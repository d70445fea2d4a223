"""The campaign of faults counts what it is to count."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from benchmarks.faults.cases import Case, as_markdown, cases_of, write_cases
from benchmarks.faults.commands import HOOK
from benchmarks.faults.edits import compare
from benchmarks.faults.mutations import damaged, odd_json
from benchmarks.faults.outcomes import Outcome, contents


def ended(code, errors=""):
    return subprocess.CompletedProcess("lt-bench", code, "", errors)


@pytest.mark.parametrize(
    ("done", "codes", "counted"),
    [
        (ended(0), (0,), 0), (ended(2, "lt-bench: no such file\n"), (0, 2), 0), (ended(2), (0, 2), 1), (ended(2, "lt-bench: full\n"), (0,), 1),
        (ended(1, "Traceback (most recent call last):\n"), (0, 1, 2), 1), (ended(-9), (0, 2), 1),
    ],
)  # fmt: skip
def test_an_end_without_a_line_is_counted(done, codes, counted):
    outcome = Outcome()
    outcome.judge("run", done, codes)
    assert len(outcome.tracebacks) == counted


def test_other_contents_are_wrong_missing_ones_lost_and_times_are_no_contents(tmp_path):
    for name, number, time in (("a", 1, 3.0), ("b", 1, 4.0), ("c", 2, 3.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "r.json").write_text(json.dumps({"n": number, "time": time}))
        (tmp_path / name / "r.npz").write_bytes(b"x")
    (tmp_path / "c" / "r.npz").unlink()
    (tmp_path / "c" / ".r.json.123.partial").touch()
    a, b, c = (contents(tmp_path / name, ["*"]) for name in "abc")
    same, other = Outcome(), Outcome()
    same.compare("run", b, a)
    other.compare("run", c, a)
    other.no_leftovers("run", tmp_path / "c")
    assert same.faults == []
    assert [len(other.wrong), len(other.tracebacks), len(other.lost)] == [1, 0, 2]


def test_a_campaign_that_is_broken_off_goes_on_and_its_table_names_what_remains(tmp_path):
    file = tmp_path / "cases.jsonl"
    assert cases_of(file, "abc") == []
    survived, other = (
        Case("abc", "kill", 0, Outcome(), 1.0, 60.0),
        Case("abc", "race", 1, Outcome(["a number\n changed"], [], ["a", "b"]), 2.0, 63.0),
    )
    write_cases(file, [Case("of another commit", "kill", 0, Outcome(), 1.0)], "w")
    write_cases(file, [survived])
    write_cases(file, [other])
    with file.open("a") as lines:
        lines.write('{"commit": "abc", "ki')
    cases = cases_of(file, "abc")
    assert cases == [survived, other]
    text = as_markdown(cases, [("kill", 0), ("kill", 1), ("race", 1)], 0, "a machine")
    assert "at commit abc, 1970-01-01 00:00 to 1970-01-01 00:01 UTC" in text
    for line in (
        "| kill | 2 | 1 | 1 | 0 | 0 | 0 |",
        "| race | 1 | 1 | 0 | 1 | 0 | 2 |",
        "| all | 3 | 2 | 1 | 1 | 0 | 2 |",
        "- race, seed 1: a number changed; a; b",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("after", "anew", "wrong"),
    [
        ({"a": 1, "b": 2}, {"b": 2}, 0), ({"a": 1, "b": 1}, {"b": 1}, 1), ({"a": 1}, {"a": 1}, 2), ({"a": 1, "b": 3}, {"b": 2}, 1), ({"a": 1, "b": 2}, {}, 1),
    ],
)  # fmt: skip
def test_an_old_number_of_edited_code_is_counted(after, anew, wrong):
    outcome = Outcome()
    compare(outcome, "edit", {"a": {"nll": 1}}, *({key: {"nll": value} for key, value in one.items()} for one in (after, anew)))
    assert len(outcome.wrong) == wrong


@pytest.mark.parametrize(("act", "left"), [("1", []), ("2", ["a"]), ("3", ["a", "b"]), ("4", ["a", "c"]), ("9", ["a", "c"])])
def test_a_process_is_killed_before_an_act_on_files(act, left, tmp_path):
    program = "import os; open('a', 'w').close(); open('b', 'w').close(); os.rename('b', 'c'); open('a').close(); open('/dev/null', 'w')"
    variables = {"PYTHONPATH": str(HOOK), "FAULTS_PLACE": f"{tmp_path}/", "FAULTS_AT": act, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=os.environ | variables, check=False)
    assert done.returncode == (-signal.SIGKILL if len(left) < 2 or "b" in left else 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == left


def test_faults_are_those_of_their_seed():
    for mutate in (damaged, odd_json):
        drawn = [mutate(b'{"a": [1, 2], "b": {"c": "d"}}', random.Random(seed)) for seed in (0, 0, 1, 2, 3)]
        assert drawn[0] == drawn[1]
        assert len({content for _, content in drawn}) > 2
