"""Outcomes of trials."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMES = {"time", "exported", "seal", "files", "seconds", "environment", "versions"}
"""Fields of JSON files that differ between two untroubled runs; `files` and `seal` are digests over files with times in them."""


@dataclass
class Outcome:
    """The outcome of a trial: empty lists where it survived."""

    wrong: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """All of them."""
        return [*self.wrong, *self.tracebacks, *self.lost]

    @property
    def summary(self) -> str:
        """One word, or every fault."""
        return "; ".join(self.faults) or "survived"

    def judge(self, what: str, done: subprocess.CompletedProcess[str], codes: tuple[int, ...] = (0, 2)) -> None:
        """Count a traceback, an exit code that is not among ``codes``, or an end with 2 that is not said in one line."""
        lines = [line for line in done.stderr.splitlines() if line.startswith("lt-bench: ")]
        if "Traceback" in done.stderr or done.returncode not in codes or (done.returncode == 2 and not lines):
            self.tracebacks.append(f"{what}: code {done.returncode}: {done.stderr[-600:]}")

    def compare(self, what: str, now: dict[str, object], right: dict[str, object]) -> None:
        """Count files that are not there, and files that say something else."""
        self.lost += [f"{what}: no {name}" for name in sorted(right.keys() - now.keys())]
        self.wrong += [
            f"{what}: {name} says something else{_first_difference(now[name], right[name])}"
            for name in sorted(right.keys() & now.keys())
            if now[name] != right[name]
        ]

    def no_leftovers(self, what: str, place: Path) -> None:
        """Count what a command that ended well left of one that did not."""
        self.lost += [
            f"{what}: left {path.name}" for ending in ("partial", "extracting") for path in sorted(place.rglob(f".*.{ending}"))[:1]
        ]


def contents(place: Path, patterns: Iterable[str]) -> dict[str, object]:
    """Contents of the files of a folder, by path: bytes by their digest, JSON and CSV without the times in them.

    The tensors of an export go by one name: beside those of an earlier export they have another.
    """
    paths = {path for pattern in patterns for path in place.glob(pattern) if path.is_file() and not path.name.startswith(".")}
    return {re.sub("-[0-9a-f]{8}(?=.safetensors$)", "", path.relative_to(place).as_posix()): _said(path) for path in sorted(paths)}


def _said(path: Path) -> object:
    content = path.read_bytes()
    if path.suffix == ".json":
        return _without_times(json.loads(content))
    if path.suffix == ".csv":
        return [{key: cell for key, cell in row.items() if key != "fit_s"} for row in csv.DictReader(io.StringIO(content.decode()))]
    return hashlib.sha256(content).hexdigest()


def _first_difference(now: object, right: object) -> str:
    """The first place at which two values of JSON differ, and both values there."""
    if isinstance(now, dict) and isinstance(right, dict) and now.keys() == right.keys():
        return next(f".{key}{_first_difference(now[key], right[key])}" for key in now if now[key] != right[key])
    return f": {now!r:.60}, not {right!r:.60}"


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(one) for key, one in value.items() if key not in TIMES}
    if isinstance(value, str):
        return re.sub("photos-[0-9a-f]{6}", "photos", value)  # the name of a cache has a hash of the path of its images
    return [_without_times(one) for one in value] if isinstance(value, list) else value
