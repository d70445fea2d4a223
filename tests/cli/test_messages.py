"""Messages of verbs: JSON, quiet, with reasons, with a traceback; output into a pipe."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lt_bench.cli.verbs import VERBS
from lt_bench.results.store import Store

ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}


def shell(command, folder, **environment):
    """A command line in a shell of its own; ``lt-bench`` is this suite."""
    program = f'lt-bench() {{ "{sys.executable}" -m lt_bench "$@"; }}; set -o pipefail; {command}'
    return subprocess.run(
        ["bash", "-c", program],
        cwd=folder,
        env=os.environ | ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture
def results(tmp_path, builder):
    store = Store(tmp_path / "results")
    for name in ("ce", "los"):
        for seed in range(2):
            store.write(*builder.make(name, seed))
    return tmp_path / "results"


def test_list_as_json(cli, small_cache):
    everything = json.loads(cli("list", "--json").out)
    assert set(everything) == {"strategies", "datasets", "backbones", "caches", "slots"}
    assert {"name": "los", "family": "label softening"}.items() <= next(
        one for one in everything["strategies"] if one["name"] == "los"
    ).items()
    caches = json.loads(cli("list", "caches", "--json").out)
    assert "small" in [one["name"] for one in caches]
    los = json.loads(cli("list", "strategies", "los", "--json").out)
    assert los["hyperparameters"]["epsilon"] == {"type": "float", "default": 0.98}
    assert json.loads(cli("list", "datasets", "imagenet_lt", "--json").out)["name"] == "imagenet_lt"
    assert json.loads(cli("list", "backbones", "resnet32", "--json").out)["dim"] == 64
    assert json.loads(cli("list", "caches", "small", "--json").out)["name"] == "small"


def test_leaderboard_as_json(cli, results):
    done = cli("leaderboard", "--json", "--formats", "csv")
    assert done.code == 0
    document = json.loads(done.out)
    assert document["files"] == ["leaderboard/leaderboard.csv"]
    assert sorted(row["strategy"] for row in document["rows"]) == ["ce", "los"]
    assert all(0 < row["accuracy"] <= 100 and row["n"] == 2 for row in document["rows"])


def test_differences_over_boards_as_json_and_what_is_refused_before_writing(cli, results, builder):
    store = Store(results)
    for name in ("ce", "los", "joint"):
        for key in ("cache-a", "cache-b"):
            store.write(*dataclasses.replace(builder, cache_key=key).make(name, 0))
    against = ("leaderboard", "--formats", "csv", "--against")
    for words, says in (
        (("nothing",), "--against nothing: not on every board of one split"),
        (("joint", "--rows", "joint"), "--against joint: none of --rows is on every board"),
    ):
        done = cli(*against, *words)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert says in done.err
        assert not (results.parent / "leaderboard").exists()
    document = json.loads(cli(*against, "joint", "--json").out)
    (found,) = document["differences"]
    assert (found["against"], len(found["boards"])) == ("joint", 2)
    assert {row["label"] for row in found["rows"]} == {"ce", "los"}
    assert all(len(row["by_board"]) == 2 for row in found["rows"])


@pytest.mark.parametrize(
    ("name", "says"), [("los.npz", "los.npz: the arrays beside a record; name the record, "), ("", "results: a folder")]
)
def test_diff_of_what_is_no_record(cli, results, name, says):
    (results / "los.npz").write_bytes(b"")
    done = cli("diff", f"results/{name}", f"results/{name}")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert says in done.err


def test_quiet_says_nothing_but_errors(cli, results):
    done = cli("leaderboard", "-q", "--formats", "csv")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (results.parent / "leaderboard" / "leaderboard.csv").is_file()
    done = cli("list", "--quiet", "strategys")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)


def test_verbose_says_what_is_in_force_and_from_where(cli, tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("what: datasets\n")
    monkeypatch.setenv("LT_BENCH_LIST__NAME", "imagenet_lt")
    done = cli("list", "-v", "--config", "mine.yaml")
    assert done.code == 0
    assert "115,846" in done.out
    assert "ListOptions(what='datasets', name='imagenet_lt')" in done.err
    assert "read from mine.yaml, LT_BENCH_LIST__NAME, the command line" in done.err
    assert " took " in done.err


def test_a_traceback_in_place_of_one_line(cli):
    for verb, *rest in (("list", "strategys"), ("run", "--sedes", "1"), ("leaderboard", "--results", "nowhere")):
        done = cli(verb, *rest, "--traceback")
        assert done.code == 2
        assert done.err.startswith("Traceback (most recent call last):")
        assert "UserError: " in done.err


def test_the_reader_of_a_pipe_may_leave(results):
    for command in ("lt-bench leaderboard --formats csv | head -1", "lt-bench list | head -1", "lt-bench --help | head -1"):
        done = shell(command, results.parent, COLUMNS="100")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == 1
    done = shell("lt-bench list strategies --json | true", results.parent)  # which does not read the first byte
    assert (done.returncode, done.stderr) == (0, "")


def test_modules_in_the_current_folder_are_not_taken_for_others(tmp_path):
    for name in ("csv", "yaml", "random", "jsonargparse", "rich", "sched"):
        (tmp_path / f"{name}.py").write_text(f"open('ran {name}', 'w').close()\n")
    (tmp_path / "my_head_here.py").write_text("import sched\n")
    done = shell("lt-bench list datasets && lt-bench run --strategy my_head_here.Head --cache x", tmp_path)
    assert done.returncode == 2
    assert "my_head_here.py has no class 'Head'" in done.stderr
    assert list(tmp_path.glob("ran *")) == []


def test_a_strategy_in_the_current_folder_is_found(cli, tmp_path, small_cache):
    (tmp_path / "my_own_head_of_cli.py").write_text("class NoStrategy:\n    pass\n")
    done = cli("run", "--strategy", "my_own_head_of_cli.NoStrategy", "--cache", "small")
    assert (done.code, "my_own_head_of_cli.NoStrategy is not a" in done.err) == (2, True), done.err
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 8 bytes")]
)
def test_lack_of_memory_is_one_line(cli, monkeypatch, error):
    def fails(*_):
        raise error

    monkeypatch.setattr("lt_bench.cli.main.read_request", fails)
    done = cli("list")
    assert (done.code, done.err.count("\n"), "not enough memory" in done.err) == (2, 1, True), done.err
    monkeypatch.setattr("lt_bench.cli.main.read_request", lambda *_: fails_deep(0))
    assert cli("list").err == "lt-bench: something in the input is nested too deeply\n"


def test_lack_of_memory_within_a_page_of_advice_is_its_own_line(cli, monkeypatch):
    def fails(*_):
        raise ImportError("\n\nIMPORTANT: PLEASE READ THIS\n\nOriginal error was: x.so: failed to map segment from shared object\n")

    monkeypatch.setattr("lt_bench.cli.main.read_request", fails)
    assert cli("list").err.startswith("lt-bench: not enough memory (x.so: failed to map segment from shared object); free some")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (900, ("import-features", "--name", "new", "--train", "train.npz", "--test", "train.npz")),
        (1000, ("run", "--strategy", "ce", "--cache", "small", "--results", "new")),
        (60, ("leaderboard", "--results", "results", "--out", "new")),
        (150, ("leaderboard", "--results", "results", "--out", "new")),
    ],
)
def test_a_limit_on_memory_is_one_line_and_leaves_nothing(small_cache, results, tmp_path, limit, words):
    """Limits in MiB; libraries end the process, or wait for ever, where they are left to find out."""
    np.savez(tmp_path / "train.npz", features=np.eye(4, 3), labels=np.arange(4) % 2)
    before = {path for folder in (tmp_path, small_cache.parent) for path in folder.rglob("*")}
    done = shell(f"ulimit -v {limit << 10}; lt-bench {' '.join(words)}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("lt-bench: not enough memory")
    assert {path for folder in (tmp_path, small_cache.parent) for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("verb", "says"),
    [
        ("list", "the same command begins again"),
        ("check", "the same command begins again"),
        ("predict", "the same command begins again"),
        ("run", "what was recorded stays, and the same command does what is missing"),
        ("extract", "features that are done stay, and the same command goes on from there"),
    ],
)
def test_an_interrupt_promises_no_record_of_a_verb_that_records_nothing(cli, monkeypatch, verb, says):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lt_bench.cli.main.read_request", interrupted)
    done = cli(verb)
    assert (done.code, done.err) == (130, f"lt-bench: interrupted; {says}\n")
    assert sum("recorded" in one.interrupted for one in VERBS.values()) == 2  # run and bench


def fails_deep(depth):
    return fails_deep(depth + 1)
