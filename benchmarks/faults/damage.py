"""Files with a fault, read by the verb that reads them; and files that never were of their kind."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from benchmarks.faults.commands import PATIENCE, call, environment
from benchmarks.faults.mutations import damaged, odd_json
from benchmarks.faults.outcomes import Outcome
from benchmarks.faults.verbs import CPU, IMAGES, RECORD, Verb, arrays, furnish, photos, template

TUNED = ("run", "--strategy", "tau_norm", "--tuned", "--cache", "small", *CPU)
FILES: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("record or predictions", "results/embeddings/*", ("results",), ("leaderboard", "--results", "results", "--quiet", "--json")),
    ("statistics", "home/statistics/*", ("home", "results"), ("leaderboard", "--results", "results", "--quiet", "--json")),
    ("cache", "home/caches/small/*", ("home", "results"), ("verify", RECORD)),
    ("tuning", "results/tuning/*.json", ("home", "results"), (*TUNED, "--json")),
    ("export", "export/classifier.*s*", ("export", "data"), ("predict", "export", "data/test.npz", "--out", "predictions.csv")),
    ("weights", "stage1/*.safetensors", ("stage1", "photos"), ("extract", *IMAGES, "--weights", "stage1/weights.safetensors", "--out", "fresh")),
)  # fmt: skip
"""Kind, pattern of the files, what is needed, and the command that reads them."""


def flipped(pattern: str, needs: tuple[str, ...], words: tuple[str, ...]) -> Callable[[Path, int], Outcome]:
    """A trial: the command says in one line that the file is damaged, or says what it says of the intact one."""

    def trial(place: Path, seed: int) -> Outcome:
        outcome, draw = Outcome(), random.Random(f"{pattern} {seed}")
        asked = furnish(place, Verb("", words, needs, ()))
        if not list(place.glob(pattern)):  # kept by the command itself
            said(place, asked)
        path = draw.choice(sorted(place.glob(pattern)))
        what, content = (odd_json if path.suffix == ".json" and seed % 2 else damaged)(path.read_bytes(), draw)
        path.write_bytes(content)
        done, says = said(place, asked)
        outcome.judge(f"{path.name}, {what}", done)
        if done.returncode == 0 and says != said_of_intact(needs, words):
            outcome.wrong.append(f"{path.name}, {what}: {words[0]} says something else")
        return outcome

    return trial


@cache
def said_of_intact(needs: tuple[str, ...], words: tuple[str, ...]) -> str:
    """Output of a command on files without a fault."""
    with tempfile.TemporaryDirectory(prefix="lt-bench-intact-") as folder:
        done, says = said(Path(folder), furnish(Path(folder), Verb("", words, needs, ())))
    assert done.returncode == 0, done.stderr
    return says


def said(place: Path, words: tuple[str, ...]) -> tuple[subprocess.CompletedProcess[str], str]:
    """A command, and what it said: its numbers, predictions or the key of what it made."""
    for name in ("predictions.csv", "fresh"):
        path = place / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    done = call(place, *words)
    written = place / "predictions.csv"
    lines = [line for line in done.stdout.replace(str(place), "").splitlines() if "seconds" not in line]
    return done, "\n".join(lines) + (written.read_text(encoding="utf-8") if written.is_file() else "")


HEADER = b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8), }".ljust(117) + b"\n"
YAML = {"nested.yaml": "a: " + "[" * 20_000, "lists.yaml": "- " * 30_000, "nothing.yaml": "", "twice.yaml": "seeds: 1\nseeds: 2\n", "bytes.yaml": "\x00\x01", "list.yaml": "[1, 2]"}  # fmt: skip
IMAGE_FILES: dict[str, bytes | None] = {"empty.png": b"", "text.png": b"no image", "half.png": None, "bomb.png": b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\x00\x00\x00"}  # fmt: skip


def hostile(place: Path, seed: int) -> Outcome:
    """A trial: a configuration, a suite or arrays that are deep, huge or no such file at all; each is one line."""
    outcome = Outcome()
    arrays(place / "data")
    name = sorted(YAML)[seed % len(YAML)]
    (place / name).write_text(YAML[name])
    (place / "huge.npy").write_bytes(HEADER)
    os.mkfifo(place / "pipe.npz")
    for words in (
        ("bench", name), ("run", "--config", name), ("import-features", "--name", "x", "--train", "huge.npy", "--test", "data/test.npz"),
        ("import-features", "--name", "x", "--train", "pipe.npz", "--test", "data/test.npz"), ("validate", name), ("migrate", "huge.npy"),
    ):  # fmt: skip
        outcome.judge(f"{words[0]} of {name}", call(place, *words), (2,))
    return outcome


def hostile_images(place: Path, seed: int) -> Outcome:
    """A trial: among the images lies one that is empty, cut off, larger than memory, or a pipe; it is named, and nothing is half-written."""
    outcome = Outcome()
    photos(place / "photos")
    name = [*IMAGE_FILES, "pipe.png"][seed % (len(IMAGE_FILES) + 1)]
    path = place / "photos" / "train" / "class 0" / name
    if name == "pipe.png":
        os.mkfifo(path)
    else:
        path.write_bytes(IMAGE_FILES[name] or (path.parent / "0.png").read_bytes()[:200])
    shutil.copytree(template() / "stage1", place / "stage1")
    words = ("extract", *IMAGES, "--weights", "stage1/weights.safetensors", "--out", "fresh")
    done = call(place, *words)
    outcome.judge(f"extract with {name}", done, (2,))
    if name not in done.stderr or (place / "fresh").exists():
        outcome.wrong.append(f"extract with {name}: not named, or half-written: {done.stderr[-300:]}")
    return outcome


def imports(place: Path, seed: int) -> Outcome:
    """A trial: modules in the current folder that are named like Python's, in every verb that starts processes; none of them runs."""
    outcome = Outcome()
    words = furnish(place, Verb("", (), ("home", "suite.yaml", "photos", "stage1"), ()))
    for name in ("csv", "random", "pickle", "yaml", "tempfile", "socket"):
        (place / f"{name}.py").write_text("open('ran', 'w').close()\nraise SystemExit(9)\n")
    words = (
        ("bench", "suite.yaml", "--workers", "2", *CPU), ("run", "--strategy", "crt", "--strategy.epochs", "2", "--cache", "small", "--devices", "2", *CPU),
        ("tune", "--strategy", "tau_norm", "--cache", "small", "--workers", "2", *CPU), ("extract", *IMAGES, "--devices", "2", "--weights", "stage1/weights.safetensors", "--out", "fresh"),
    )[seed % 4]  # fmt: skip
    line = [sys.executable, "-m", "lt_bench", *words]  # a process of its own, which imports everything anew
    done = subprocess.run(line, env=environment(place), cwd=place, capture_output=True, text=True, check=False, timeout=PATIENCE)
    outcome.judge(f"{words[0]} beside csv.py", done, (0,))
    if (place / "ran").exists():
        outcome.wrong.append(f"{words[0]}: a module of the current folder ran")
    return outcome
