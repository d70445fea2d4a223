"""Commands of the suite on small inputs of the campaign's own, and what they give where nothing troubles them."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.faults.commands import apart, call
from benchmarks.faults.outcomes import contents

RECORD = "RECORD"
"""Stands for the record of `tau_norm` in the words of a command."""
CPU = ("--accelerator", "cpu")
SUITE = "strategies:\n- {name: los, epochs: 3}\n- tau_norm\n- {name: crt, epochs: 3}\ncaches: [{cache: small}]\nseeds: [0, 1]\n"


@dataclass(frozen=True)
class Verb:
    """A command.

    Attributes:
        name: of the row in the table.
        words: of the command line.
        needs: folders of the template that it reads.
        makes: patterns of the files that it writes.
        again: exit codes of the same command where its work is done: an import refuses to take the place of a cache.
    """

    name: str
    words: tuple[str, ...]
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    again: tuple[int, ...] = (0,)

    def words_in(self, place: Path) -> tuple[str, ...]:
        """The words with the path of the record in them."""
        return tuple(str(record(place)) if word == RECORD else word for word in self.words)


IMPORT = (
    "import-features",
    "--name",
    "small",
    *(word for name in ("train", "val", "test", "head") for word in (f"--{name}", f"data/{name}.npz")),
)
IMAGES = (
    "--dataset",
    "folder",
    "--data-dir",
    "photos",
    "--backbone",
    "resnet20",
    "--augment",
    "crop",
    "--views",
    "1",
    "--workers",
    "0",
    *CPU,
)
PRETRAIN = ("pretrain", *IMAGES, "--epochs", "2")
EXPORT = ("export", "--record", RECORD, "--out")
RECORDS = ("*/*.json", "*/*.npz")
VERBS = (
    Verb("import-features", IMPORT, ("data",), ("home/caches/small/*",), (0, 2)),
    Verb("extract", ("extract", *IMAGES, "--weights", "stage1/weights.safetensors", "--out", "fresh"), ("photos", "stage1"), ("fresh/*",)),
    Verb("pretrain", (*PRETRAIN, "--out", "fresh"), ("photos",), ("fresh/weights.safetensors", "fresh/cache/*")),
    Verb(
        "run",
        ("run", "--strategy", "crt", "--strategy.epochs", "3", "--cache", "small", "--seeds", "0,1", "--results", "fresh", *CPU),
        ("home",),
        ("fresh/embeddings/*",),
    ),
    Verb("tune", ("tune", "--strategy", "tau_norm", "--cache", "small", "--results", "fresh", *CPU), ("home",), ("fresh/tuning/*.json",)),
    Verb("bench", ("bench", "suite.yaml", "--workers", "1", "--results", "fresh", *CPU), ("home", "suite.yaml"), ("fresh/embeddings/*",)),
    Verb("bench, two workers", ("bench", "suite.yaml", "--workers", "2", "--results", "fresh", *CPU), ("home", "suite.yaml"), ("fresh/embeddings/*",)),
    Verb("export", (*EXPORT, "fresh"), ("home", "results"), ("fresh/classifier.json", "fresh/*.safetensors")),
    Verb("export over another", (*EXPORT, "export"), ("home", "results", "export"), ("export/classifier.json", "export/*.safetensors", "export/notes.txt")),
    Verb("leaderboard", ("leaderboard", "--results", "results", "--out", "fresh"), ("results",), ("fresh/*.csv", "fresh/*.md", "results/embeddings/*")),
    Verb("migrate", ("migrate", "old"), ("old",), ("old/cache/*", "old/results/embeddings/*", "old/results/tuning/*")),
)  # fmt: skip


def record(place: Path, strategy: str = "tau_norm", results: str = "results") -> Path:
    """The record of a strategy."""
    return next((place / results / "embeddings").glob(f"{strategy}-*.json"))


def arrays(folder: Path) -> None:
    """Training, validation and test arrays of five classes, and a head."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    means = draw.normal(size=(5, 8))
    for name, counts in (("train", (40, 20, 10, 5, 3)), ("val", (4,) * 5), ("test", (10,) * 5)):
        labels = np.repeat(np.arange(5), counts)
        np.savez(folder / f"{name}.npz", features=(means[labels] + draw.normal(size=(len(labels), 8))).astype(np.float32), labels=labels)
    np.savez(folder / "head.npz", weight=means.astype(np.float32), bias=np.zeros(5, np.float32))


def photos(folder: Path) -> None:
    """Small pictures of three classes in train, val and test."""
    draw = np.random.default_rng(0)
    for split, counts in (("train", (8, 4, 3)), ("val", (3, 3, 3)), ("test", (4, 4, 4))):
        for k, count in enumerate(counts):
            (folder / split / f"class {k}").mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(draw.normal(60 + 60 * k, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / f"class {k}" / f"{i}.png")


@cache
def template() -> Path:
    """A folder with everything that a verb needs, made once without any fault."""
    place = Path(tempfile.mkdtemp(prefix="lt-bench-intact-"))
    arrays(place / "data")
    photos(place / "photos")
    (place / "suite.yaml").write_text(SUITE)
    on_cache = ("--cache", "small", *CPU)
    for words in (
        IMPORT, ("run", "--strategy", "tau_norm", *on_cache), ("run", "--strategy", "los", "--strategy.epochs", "3", *on_cache), (*PRETRAIN, "--out", "stage1"),
        ("tune", "--strategy", "tau_norm", *on_cache), ("tune", "--strategy", "tau_norm", *on_cache, "--results", "old/results"),
        ("run", "--strategy", "tau_norm", "--tuned", *on_cache, "--results", "old/results"), ("run", "--strategy", "ncm", *on_cache, "--results", "old/results"),
    ):  # fmt: skip
        done = call(place, *words)
        assert done.returncode == 0, done.stderr
    done = call(place, "export", "--record", str(record(place, "los")), "--out", "export")
    assert done.returncode == 0, done.stderr
    (place / "export" / "notes.txt").write_text("a file of yours")
    shutil.copytree(place / "home" / "caches" / "small", place / "old" / "cache")
    apart(lambda: _age(place / "old"))
    return place


def _age(place: Path) -> None:
    """Rewrite a cache and results as an earlier version wrote them."""
    from tests.bench.earlier_version import as_earlier_version

    as_earlier_version(place / "cache", place / "results")


def furnish(place: Path, verb: Verb) -> tuple[str, ...]:
    """Copy what a verb needs into a folder; returns the words of its command there."""
    place.mkdir(parents=True, exist_ok=True)
    for name in verb.needs:
        source = template() / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, place / name)
    return verb.words_in(place)


@dataclass(frozen=True)
class Untroubled:
    """The untroubled outcome of a verb: the files that it makes, what it leaves of those it read, seconds, and acts on files."""

    made: dict[str, object]
    read: dict[str, object]
    seconds: float
    acts: int
    size: int


@cache
def untroubled(verb: Verb) -> Untroubled:
    """Do a verb once in a folder of its own, for every process of the campaign."""
    file = template() / f"untroubled {verb.name}"
    if file.is_file():
        return pickle.loads(file.read_bytes())
    place = Path(tempfile.mkdtemp(prefix="lt-bench-untroubled-"))
    words, count = furnish(place, verb), place.with_suffix(".acts")
    begun, before = time.monotonic(), _size(place)
    done = call(place, *words, variables={"FAULTS_PLACE": f"{place}/", "FAULTS_COUNT": str(count)})
    seconds = time.monotonic() - begun
    assert done.returncode == 0, done.stderr
    made, read = contents(place, verb.makes), read_by(place, verb)
    assert made, verb
    size, acts = _size(place) - before, int(count.read_text())
    shutil.rmtree(place)
    count.unlink()
    once = Untroubled(made, read, seconds, acts, max(size, 4096))
    whole = file.with_suffix(f".{os.getpid()}")
    whole.write_bytes(pickle.dumps(once))
    whole.rename(file)
    return once


def read_by(place: Path, verb: Verb) -> dict[str, object]:
    """Files of the folders that a verb reads, without those that it writes to."""
    folders = {pattern.partition("/")[0] for pattern in verb.makes}
    return contents(place, [f"{name}/**/*" for name in verb.needs if name not in folders])


def _size(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
