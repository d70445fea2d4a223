"""``lt-bench validate``: check that files are as they were written, each by the reader of its kind. Torch is imported only to read tensors."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lt_bench.bench.choosing.predictions import CHOICES, read_predictions
from lt_bench.bench.options import ValidateOptions
from lt_bench.bench.submission import submission_faults
from lt_bench.bench.tuned import read_tuning, record_or_tuning
from lt_bench.cli.output import Output
from lt_bench.core.activity import steps
from lt_bench.core.errors import UserError
from lt_bench.core.folders import listed
from lt_bench.core.seals import archive_holds, read_json_object
from lt_bench.core.stored import STORED_NAME, read_stored
from lt_bench.deploy.files import DESCRIPTION, faults_of
from lt_bench.features.manifest import MANIFEST_NAME
from lt_bench.results.store import SUBMISSION, record_faults
from lt_bench.results.verified import VERIFIED

RECORD, TUNING, CACHE, EXPORT, STAGE1, CHECKPOINT, WEIGHTS, STATISTICS, HELD_OUT, SUBMITTED = (
    "record",
    "tuning",
    "cache",
    "export",
    "stage 1",
    "checkpoint",
    "weights",
    "kept statistics",
    "kept predictions",
    "submission",
)
PLAN, LOG = "plan.json", "log.csv"
RESTORE = "restore it from a copy"
_RECORD_NAME = re.compile(r".*-[0-9a-f]{16}", re.DOTALL)
_WEIGHTS = {".safetensors", ".pt", ".pth"}


@dataclass(frozen=True)
class Item:
    """A checked file or folder, its kind, and a line for each fault."""

    path: Path
    kind: str
    faults: list[str]


def validate_verb(options: ValidateOptions, output: Output) -> None:
    """Check files and folders; a folder is searched.

    Raises:
        UserError: no path is given, or, at the end, an item has a fault.
    """
    if not options.paths:
        raise UserError(
            "validate needs what to check: results, records, tunings, caches, exports, stage-1 folders; e.g. `lt-bench validate results`"
        )
    items: list[Item] = []
    for path in options.paths:
        things = list(steps(items_at(path), f"things to check in {path}"))
        of_path = [Item(one, kind, faults_at(one, kind)) for one, kind in steps(things, f"checked in {path}")] or [
            Item(path, "unknown", [f"{path}: nothing that lt-bench writes and can check"])
        ]
        for fault in (fault for item in of_path for fault in item.faults):
            output.say(fault)
        if not any(item.faults for item in of_path):
            counts = Counter(item.kind for item in of_path)
            output.say(f"{path}: OK, {', '.join(f'{count:,} {kind}{_plural(kind, count)}' for kind, count in sorted(counts.items()))}")
        items += of_path
    output.data([vars(item) for item in items])
    if wrong := sum(bool(item.faults) for item in items):
        raise UserError(f"{wrong:,} of {len(items):,} do not hold")


def items_at(path: Path) -> Iterator[tuple[Path, str]]:
    """Paths that can be checked, each with its kind: the path itself, or those in a folder at any depth.

    Raises:
        UserError: the path does not exist.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_file():
        if (kind := _kind_of_file(path)) is not None:
            yield (
                (path.parent, kind)
                if kind in (EXPORT, CACHE, STAGE1, SUBMITTED)
                else (path.with_suffix(".json") if path.suffix == ".npz" else path, kind)
            )
        return
    for name, kind in ((DESCRIPTION, EXPORT), (MANIFEST_NAME, CACHE), (SUBMISSION, SUBMITTED)):
        if (path / name).exists():
            yield path, kind
            return
    if (path / PLAN).is_file():
        yield path, STAGE1
    for child in listed(path):
        if child.name.startswith("."):
            continue
        if child.is_dir():
            if child.is_symlink():
                continue  # it may lead back here
            yield from items_at(child)
        elif child.name != PLAN and child.suffix != ".npz" and (kind := _kind_of_file(child)) is not None:
            yield child, kind


def _kind_of_file(path: Path) -> str | None:
    """The kind of a file, by its name if possible, so that damaged files are reported too; None for files that cannot be checked."""
    by_name = {DESCRIPTION: EXPORT, MANIFEST_NAME: CACHE, PLAN: STAGE1, SUBMISSION: SUBMITTED, VERIFIED: SUBMITTED}
    if path.name in by_name:
        return by_name[path.name]
    if path.suffix == ".json" and path.parent.name == CHOICES and _RECORD_NAME.fullmatch(path.stem):
        return HELD_OUT
    if path.suffix in (".json", ".npz") and _RECORD_NAME.fullmatch(path.stem):
        return RECORD if path.with_suffix(".npz").is_file() else record_or_tuning(path) or RECORD
    if path.suffix == ".json" and STORED_NAME.fullmatch(path.name):
        return STATISTICS
    if path.suffix == ".ckpt":
        return CHECKPOINT
    if path.suffix in _WEIGHTS:
        return WEIGHTS
    return None


def faults_at(path: Path, kind: str) -> list[str]:
    """Check an item by the reader of its kind; one line for each fault."""
    try:
        return _CHECKS[kind](path)
    except UserError as error:
        return [" ".join(str(error).split())]
    except OSError as error:
        return [f"{path}: cannot be read ({error.strerror or error})"]


def _tuning(path: Path) -> list[str]:
    read_tuning(path)
    return []


def _cache(path: Path) -> list[str]:
    from lt_bench.features.cache import open_cache

    open_cache(path).verify()
    return []


def _stage1(path: Path) -> list[str]:
    """Faults of the plan and log of a stage 1; its checkpoints, weights and cache are items of their own."""
    faults = []
    try:
        read_json_object(path / PLAN, RESTORE)
    except UserError as error:
        faults.append(str(error))
    if (path / LOG).is_file():
        try:
            with (path / LOG).open(newline="", encoding="utf-8") as file:
                epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            return [*faults, f"{path / LOG}: a damaged log of epochs ({error}); {RESTORE}"]
        if epochs and epochs != list(range(epochs[0], epochs[0] + len(epochs))):  # a log that begins later follows one that was moved away
            faults.append(f"{path / LOG}: epochs are missing or stand twice; {RESTORE}")
    return faults


def _checkpoint(path: Path) -> list[str]:
    if (holds := archive_holds(path)) is None:
        return [f"{path}: carries no seal: damaged, or written by an earlier version; {RESTORE}"]
    return [] if holds else [f"{path}: its bytes are not what was written; {RESTORE}"]


def _weights(path: Path) -> list[str]:
    from lt_bench.backbones.checkpoints import read_checkpoint

    read_checkpoint(path)
    return []


def _statistics(path: Path) -> list[str]:
    read_stored(path)
    return []


def _held_out(path: Path) -> list[str]:
    read_predictions(path)
    return []


def _plural(kind: str, count: int) -> str:
    return "s" if count != 1 and kind in (RECORD, TUNING, CACHE, EXPORT, CHECKPOINT, SUBMITTED) else ""


_CHECKS: dict[str, Callable[[Path], list[str]]] = {
    RECORD: record_faults, TUNING: _tuning, CACHE: _cache, EXPORT: faults_of, STAGE1: _stage1, CHECKPOINT: _checkpoint, WEIGHTS: _weights,
    STATISTICS: _statistics, HELD_OUT: _held_out, SUBMITTED: submission_faults,
}  # fmt: skip
