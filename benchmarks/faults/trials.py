"""The trials of the campaign: kills, damaged files, races, odd places, hostile input."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.faults.mutations import damaged, odd_json

RECORD = "RECORD"
"""Stands for the one record of a folder in the words of a command."""
STRATEGY = ("--strategy", "tau_norm", "--accelerator", "cpu")


@dataclass
class Outcome:
    """What came of a trial: empty lists where it survived."""

    wrong: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


@dataclass
class Table:
    """Counts by kind of fault."""

    rows: dict[str, list[int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, outcome: Outcome) -> None:
        """Count a trial."""
        row = self.rows.setdefault(name, [0, 0, 0, 0, 0])
        counts = [len(outcome.wrong), len(outcome.tracebacks), len(outcome.lost)]
        for position, count in enumerate([1, int(not any(counts)), *counts]):
            row[position] += count
        self.faults += [f"{name}: {line}" for line in (*outcome.wrong, *outcome.tracebacks, *outcome.lost)]

    def lines(self) -> list[str]:
        """A Markdown table."""
        head = ["fault", "tried", "survived", "wrong numbers", "tracebacks", "lost files"]
        rows = [[name, *map(str, counts)] for name, counts in self.rows.items()]
        total = ["all", *(str(sum(row[position] for row in self.rows.values())) for position in range(5))]
        return ["| " + " | ".join(row) + " |" for row in (head, [":--", *["--:"] * 5], *([total, *rows])) if row]


def arrays(folder: Path) -> tuple[Path, Path]:
    """Train and test arrays of five classes."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    means = draw.normal(size=(5, 8))
    for name, counts in (("train", (40, 20, 10, 5, 3)), ("test", (10,) * 5)):
        labels = np.repeat(np.arange(5), counts)
        np.savez(folder / f"{name}.npz", features=(means[labels] + draw.normal(size=(len(labels), 8))).astype(np.float32), labels=labels)
    np.savez(folder / "head.npz", weight=means.astype(np.float32), bias=np.zeros(5, np.float32))
    return folder / "train.npz", folder / "test.npz"


def command(place: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    """A command line of the suite, and the environment that it runs in."""
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return [sys.executable, "-m", "lt_bench", *words], os.environ | {
        "LT_BENCH_HOME": str(place / "home"),
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
    }


def call(place: Path, *words: str, **more: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    line, environment = command(place, *words)
    return subprocess.run(line, env=environment, cwd=place, capture_output=True, text=True, check=False, timeout=600, **more)  # type: ignore[call-overload]


def importing(data: Path) -> tuple[str, ...]:
    """The words that import the arrays of a folder."""
    files = (word for name in ("train", "test", "head") for word in (f"--{name}", str(data / f"{name}.npz")))
    return ("import-features", "--name", "small", *files)


RUN = ("run", *STRATEGY, "--cache", "small", "--results", "results")


@cache
def template() -> Path:
    """A folder with the data, the cache, a record and an export, made once without any fault."""
    import tempfile

    place = Path(tempfile.mkdtemp(prefix="lt-bench-intact-"))
    arrays(place / "data")
    for words in (importing(place / "data"), RUN):
        done = call(place, *words)
        assert done.returncode == 0, done.stderr
    done = call(place, "export", "--record", str(record(place)), "--out", "export")
    assert done.returncode == 0, done.stderr
    return place


def record(place: Path) -> Path:
    """The one record of a folder."""
    return next((place / "results" / "embeddings").glob("*.json"))


def numbers(place: Path) -> object:
    """What the record of a folder says."""
    return json.loads(record(place).read_text(encoding="utf-8"))["metrics"]


def judge(outcome: Outcome, what: str, done: subprocess.CompletedProcess[str], codes: tuple[int, ...] = (0, 2)) -> None:
    """Count a traceback, or an end that is neither success nor one line."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("lt-bench: ")]
    if "Traceback" in done.stderr or done.returncode not in codes or (done.returncode == 2 and not lines):
        outcome.tracebacks.append(f"{what}: code {done.returncode}: {done.stderr[-400:]}")


def killed(words: tuple[str, ...], needs: tuple[str, ...], left: str) -> Callable[[Path, int], Outcome]:
    """SIGKILL at a random time; then the same command gives what it gives without, and nothing of the kill is left."""

    def trial(place: Path, seed: int) -> Outcome:
        outcome = Outcome()
        for name in needs:
            shutil.copytree(template() / name, place / name)
        asked = tuple(str(record(place)) if word == RECORD else word for word in words)
        line, environment = command(place, *asked)
        process = subprocess.Popen(line, env=environment, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.Random(seed).uniform(0.2, 6.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = call(place, *asked)
        judge(outcome, f"{words[0]} after a kill", done, (0, 2) if words[0] == "import-features" else (0,))
        if not list(place.glob(left)):
            outcome.lost.append(f"{words[0]}: no {left}")
        if words[0] == "run" and numbers(place) != numbers(template()):
            outcome.wrong.append("run after a kill")
        if hidden := [str(path) for path in place.rglob(".*.partial")]:
            outcome.lost.append(f"{words[0]}: left {hidden[0]}")
        return outcome

    return trial


def flipped(kind: str, words: tuple[str, ...]) -> Callable[[Path, int], Outcome]:
    """A damaged file; the command that reads it says so in one line, or its numbers are those of the intact one."""

    def trial(place: Path, seed: int) -> Outcome:
        outcome, draw = Outcome(), random.Random(seed)
        shutil.copytree(template(), place, dirs_exist_ok=True)
        path = draw.choice(sorted(place.glob(kind)))
        asked = tuple(str(record(place)) if word == RECORD else word for word in words)
        intact = said(place, asked)[1]
        what, content = (odd_json if path.suffix == ".json" and seed % 2 else damaged)(path.read_bytes(), draw)
        path.write_bytes(content)
        done, says = said(place, asked)
        judge(outcome, f"{path.name}, {what}", done)
        if done.returncode == 0 and says != intact:
            outcome.wrong.append(f"{path.name}, {what}: {words[0]} says something else")
        return outcome

    return trial


def said(place: Path, words: tuple[str, ...]) -> tuple[subprocess.CompletedProcess[str], str]:
    """A command, and what it wrote: its output and predictions."""
    written = place / "predictions.csv"
    written.unlink(missing_ok=True)
    done = call(place, *words)
    return done, done.stdout + (written.read_text(encoding="utf-8") if written.is_file() else "")


def race(place: Path, seed: int) -> Outcome:
    """Three processes run and record the same into one directory at once."""
    outcome = Outcome()
    for name in ("data", "home"):
        shutil.copytree(template() / name, place / name)
    line, environment = command(place, *RUN)
    several = [
        subprocess.Popen(line, env=environment, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for process in several:
        _, errors = process.communicate()
        judge(outcome, "a race", subprocess.CompletedProcess(line, process.returncode, "", errors), (0,))
    if numbers(place) != numbers(template()):
        outcome.wrong.append("a race of three")
    return outcome


def odd_place(place: Path, seed: int) -> Outcome:
    """Results in a place that is a link, has an odd name, cannot be written, or is full."""
    outcome = Outcome()
    for name in ("data", "home"):
        shutil.copytree(template() / name, place / name)
    kind = ("link", "name", "file", "full")[seed % 4]
    where = place / {"link": "link", "name": "é 結果 'a\" $x", "file": "file/results", "full": "results"}[kind]
    if kind == "link":
        (place / "far").mkdir()
        where.symlink_to(place / "far")
    if kind == "file":
        (place / "file").write_text("a file of yours")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

    done = call(place, *RUN[:-1], str(where), **({"preexec_fn": limit} if kind == "full" else {}))
    judge(outcome, f"results in a {kind}", done, (0,) if kind in ("link", "name") else (2,))
    if kind == "full":
        judge(outcome, "results after a full disk", call(place, *RUN), (0,))
    if kind == "file" and (place / "file").read_text() != "a file of yours":
        outcome.lost.append("a file in the way")
    if kind in ("link", "name") and not list(where.glob("*/*.json")):
        outcome.lost.append(f"no record in a {kind}")
    return outcome


def hostile(place: Path, seed: int) -> Outcome:
    """A configuration, a suite or arrays that are deep, huge or no such file at all."""
    outcome = Outcome()
    arrays(place / "data")
    texts = {"nested.yaml": "a: " + "[" * 20_000, "lists.yaml": "- " * 30_000, "nothing.yaml": "", "twice.yaml": "seeds: 1\nseeds: 2\n"}
    name = sorted(texts)[seed % len(texts)]
    (place / name).write_text(texts[name])
    header = b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8), }".ljust(117) + b"\n"
    (place / "huge.npy").write_bytes(header)
    os.mkfifo(place / "pipe.npz")
    for words in (
        ("bench", name), ("run", "--config", name), ("import-features", "--name", "x", "--train", "huge.npy", "--test", str(place / "data" / "test.npz")),
        ("import-features", "--name", "x", "--train", "pipe.npz", "--test", str(place / "data" / "test.npz")),
    ):  # fmt: skip
        judge(outcome, f"{words[0]} of {name}", call(place, *words), (2,))
    return outcome


CAMPAIGN: tuple[tuple[str, Callable[[Path, int], Outcome], int, int], ...] = (
    ("SIGKILL of run", killed(RUN, ("data", "home"), "results/*/*.json"), 2, 40),
    ("SIGKILL of import-features", killed(importing(Path("data")), ("data",), "home/caches/small/manifest.json"), 2, 40),
    (
        "SIGKILL of export",
        killed(("export", "--record", RECORD, "--out", "out"), ("data", "home", "results"), "out/classifier.json"),
        1,
        20,
    ),
    ("SIGKILL of leaderboard", killed(("leaderboard", "--results", "results", "--out", "out"), ("results",), "out/leaderboard.csv"), 1, 20),
    ("damaged record or predictions", flipped("results/*/*", ("leaderboard", "--results", "results", "--quiet", "--json")), 2, 60),
    ("damaged cache", flipped("home/caches/small/*", ("verify", RECORD)), 2, 60),
    ("damaged export", flipped("export/classifier.*s*", ("predict", "export", "data/test.npz", "--out", "predictions.csv")), 2, 40),
    ("race of three processes", race, 1, 10),
    ("odd places", odd_place, 4, 12),
    ("hostile input", hostile, 2, 8),
)
"""Name, trial, and how often: quick, whole."""
