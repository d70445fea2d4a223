"""Disks that are full, files that may not grow, places that cannot be written, and odd ones."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

from benchmarks.faults.commands import apart, call
from benchmarks.faults.kills import after
from benchmarks.faults.outcomes import Outcome, contents
from benchmarks.faults.verbs import CPU, EXPORT, IMAGES, IMPORT, PRETRAIN, RECORD, VERBS, Verb, furnish, untroubled

ANYTHING = ("home", "results", "export", "data", "photos", "stage1", "old", "suite.yaml")


@cache
def may_mount() -> bool:
    """Whether this process may mount file systems that it alone sees."""
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


def own_mounts() -> None:
    """Mounts from here on are seen by this process and those that it starts, and no other."""
    CLONE_NEWNS = 0x20000
    assert ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) == 0, os.strerror(ctypes.get_errno())
    mount("--make-rprivate", "/")


def mount(*words: object) -> None:
    """Call ``mount``."""
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


def full_disk(verb: Verb) -> Callable[[Path, int], Outcome]:
    """A trial: a disk with room for a part of what a verb writes (a tmpfs), then more of it; or a bound on the size of files."""

    def trial(place: Path, seed: int) -> Outcome:
        outcome, draw = Outcome(), random.Random(f"{verb.name} {seed}")
        if seed % 2 or not may_mount():
            words = furnish(place, verb)
            limit = draw.choice((8, draw.randrange(8, 512), draw.randrange(512, 65536)))  # Python's tempfile needs 4 to find a folder
            outcome.judge(f"{verb.name}, files of at most {limit} bytes", call(place, *words, before=lambda: _limit(limit)))
            after(outcome, f"{verb.name} after a bound on files", place, verb, words)
            return outcome
        return apart(lambda: _on_full_disk(outcome, place, verb, draw.random()))

    return trial


def _on_full_disk(outcome: Outcome, place: Path, verb: Verb, share: float) -> Outcome:
    own_mounts()
    mount("-t", "tmpfs", "-o", "size=256m", "none", place)
    words = furnish(place, verb)
    used = sum(4096 * (2 + path.stat().st_size // 4096) for path in place.rglob("*"))
    mount("-o", f"remount,size={used + int(share * (untroubled(verb).size + 20_000))}", place)
    outcome.judge(f"{verb.name} on a full disk", call(place, *words))
    mount("-o", "remount,size=256m", place)
    after(outcome, f"{verb.name} once the disk is free", place, verb, words)
    return outcome


def _limit(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


RUN = ("run", "--strategy", "crt", "--strategy.epochs", "3", "--cache", "small", *CPU, "--results")
READ_ONLY: tuple[tuple[str, tuple[str, ...], int], ...] = (
    ("results", (*RUN, "results"), 2), ("home", (*RUN, "results"), 0), (".", (*RUN, "../free/results"), 0), (".", (*RUN, "results"), 2),
    ("results", ("leaderboard", "--results", "results", "--out", "fresh"), 0), ("home", ("leaderboard", "--results", "results", "--out", "fresh"), 0),
    (".", ("leaderboard", "--results", "results"), 2), (".", ("leaderboard", "--results", "results", "--out", "../free/fresh"), 0),
    ("home", IMPORT, 2), (".", (*IMPORT, "--out", "../free/cache"), 0), ("home", ("list", "caches"), 0), (".", ("validate", "results", "home", "export"), 0),
    ("results", ("tune", "--strategy", "tau_norm", "--cache", "small", *CPU), 2), (".", ("bench", "suite.yaml", "--workers", "1", *CPU, "--results", "../free/results"), 0),
    (".", ("bench", "suite.yaml", "--workers", "1", *CPU), 2), (".", (*EXPORT, "fresh"), 2), (".", (*EXPORT, "../free/fresh"), 0), ("export", (*EXPORT, "export"), 2),
    (".", ("predict", "export", "data/test.npz", "--out", "../free/predictions.csv"), 0), (".", ("predict", "export", "data/test.npz", "--out", "predictions.csv"), 2),
    (".", (*PRETRAIN, "--out", "fresh"), 2), (".", ("extract", *IMAGES, "--weights", "stage1/weights.safetensors", "--out", "fresh"), 2),
    (".", (*PRETRAIN, "--out", "../free/fresh"), 0), ("old", ("migrate", "old"), 2), (".", ("verify", RECORD), 0),
    (".", ("extract", *IMAGES, "--weights", "stage1/weights.safetensors", "--out", "../free/fresh"), 0),
)  # fmt: skip
"""The read-only place, a command, and its exit code: 2 where it has to write there, 0 where it need not."""


def read_only(place: Path, seed: int) -> Outcome:
    """A trial: a folder that cannot be written; a command that has to write there ends with one line, another does its work, and nothing in it changes."""
    folder, words, code = READ_ONLY[seed % len(READ_ONLY)]
    outcome, what = Outcome(), f"{words[0]} where {folder} is read-only"
    if not may_mount():
        return outcome
    work = place / "work"
    words = furnish(work, Verb("", words, ANYTHING, ()))
    (place / "free").mkdir()
    before = contents(work / folder, ["**/*"])
    outcome.judge(what, apart(lambda: _with_read_only(work, work / folder, words)), (code,))
    outcome.compare(what, contents(work / folder, ["**/*"]), before)
    return outcome


def _with_read_only(work: Path, folder: Path, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    own_mounts()
    mount("--bind", folder, folder)
    mount("-o", "remount,ro,bind", folder)
    return call(work, *words)


OUTPUT = {verb.name: verb for verb in VERBS if verb.name in ("extract", "run", "tune", "export", "leaderboard", "pretrain")}


def odd_place(place: Path, seed: int) -> Outcome:
    """A trial: what a verb writes goes to a place that is a link, has an odd name, or where a file is in the way."""
    verb = list(OUTPUT.values())[seed // 3 % len(OUTPUT)]
    kind, where = (("link", "link"), ("name", "é 結果 'a\" $x"), ("file", "file/results"))[seed % 3]
    outcome, what = Outcome(), f"{verb.name} to a {kind}"
    words = tuple(where if word == "fresh" else word for word in furnish(place, verb))
    if kind == "link":
        (place / "far").mkdir()
        (place / where).symlink_to(place / "far")
    (place / "file").write_text("a file of yours")
    outcome.judge(what, call(place, *words), (2,) if kind == "file" else (0,))
    if (place / "file").read_text() != "a file of yours":
        outcome.lost.append("a file in the way")
    if kind != "file":
        shutil.copytree(place / where, place / "fresh")
        made = contents(place, verb.makes)
        for one in made.values():
            if isinstance(one, dict) and one.get("name") == where:
                one["name"] = "fresh"  # a cache of pretrain is called by its folder
        outcome.compare(what, made, untroubled(verb).made)
    return outcome
