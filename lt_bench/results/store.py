"""A directory of run records: `DIR/<dataset>/<strategy>-<id>.json` with a side `.npz`. Records are written once.

What a record says of the run (identity, data, features, seeds, metrics, course, times, versions, arrays) never changes. One field is not of the run but of
the search before it, `tuning`: where a later `lt-bench tune` over another grid ends at the same hyper-parameters, that is the same run, and `Store.retuned`
replaces this one field, so that a table says how much was tried for the row as it stands. `tuning.kind` is part of the identity and stays.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.arrays import read_npz
from lt_bench.core.commands import with_results, word
from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.files import write_atomic
from lt_bench.core.folders import names_in
from lt_bench.core.identity import canonical_json
from lt_bench.core.seals import read_json_object
from lt_bench.results.record import AGAIN, RunRecord, TuningInfo
from lt_bench.results.seal import arrays_digest, check_arrays

Arrays = Mapping[str, NDArray[Any]]

# Per-sample arrays of the test view, in the order of the test rows, and the type each is stored in.
SAMPLE_ARRAYS: dict[str, type[np.generic]] = {"test_predictions": np.int32, "test_labels": np.int32, "test_true_probability": np.float32}
TEST_GROUPS = "test_groups"
"""The group (N,) of each test image, numbered as they come, where the cache lists the groups (tracks, patients, sites) that it was split by."""

# The course of a fit over E measured epochs, where it was asked for: `course/epoch` (E,), the others (E, K).
PER_EPOCH, EPOCHS = "course/", "course/epoch"

RESTORE = f"restore it from a copy, or move it away and {AGAIN}"

# Folders beside those of the datasets: what `lt-bench tune` chose, what `lt-bench choose` predicted, the CSV logs of fits, and what a file system has of its own.
NOT_DATASETS = {"tuning", "choices", "logs", "lost+found"}
SUBMISSION = "submission.json"
"""File of a submission's statement; a folder of records with this file is a submission."""


class Store:
    """Reads and writes the records of one directory.

    The names of its files are read once; an id that is not among them is looked for anew, since other processes may write here.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        # Folder and name by id: to make paths of thousands takes longer than to read their names. None: not read yet.
        self._files: dict[str, tuple[Path, str]] | None = None

    def path(self, record: RunRecord) -> Path:
        """Path of this record's JSON, written or not."""
        return self.directory / record.dataset.name / f"{record.strategy.name}-{record.id}.json"

    def has(self, id: str) -> bool:  # noqa: A002 - the field's own name
        """Whether a record with this id is complete (its JSON is written last)."""
        return self._find(id) is not None

    def recorded(self, ids: Iterable[str]) -> set[str]:
        """The ids among these whose records are complete; the names of the files are read once for all of them."""
        there = self._read_names()
        return {one for one in ids if one in there}

    def holds(self, record: RunRecord) -> bool:
        """Whether a record of this id is complete in its place; no other file is looked at."""
        return self.path(record).is_file()

    def stored(self, record: RunRecord, arrays: Arrays) -> RunRecord | None:
        """The record of this id as it is stored, None where there is none.

        Raises:
            UserError: it has other content than this record and its arrays.
        """
        known = self._read_names() if self._files is None else self._files
        existing = next((path for path in (self.path(record), _joined(known.get(record.id))) if path is not None and path.is_file()), None)
        return None if existing is None else self._same(existing, record, arrays)

    def write(self, record: RunRecord, arrays: Arrays) -> RunRecord:
        """Store a record with its arrays; each file appears whole or not at all, the JSON last.

        Writing again what was already measured (same identity, same metrics, same arrays) keeps the first file, whatever time it took.

        Returns:
            The record as it is stored, with the digests of its arrays.

        Args:
            record: the run.
            arrays: `test_predictions`, `test_labels` (N,), `test_true_probability` (N,), and vectors (K,) named `<view>/<name>`; `test_groups` (N,) where images come in groups; with an analysis of
                the fit also `course/epoch` (E,) and `course/<name>` (E, K).

        Raises:
            UserError: the record or an array is not valid, or this id exists with other content.
        """
        stored = _checked_arrays(record, arrays)
        record = replace(record, arrays=arrays_digest(stored))
        data = record.to_json()
        path = self.path(record)
        if (here := self.stored(record, stored)) is not None:
            return here
        write_atomic(path.with_suffix(".npz"), lambda file: np.savez_compressed(file, allow_pickle=False, **stored))
        write_atomic(path, lambda file: file.write(_text(data).encode()))
        if self._files is not None:
            self._files[record.id] = path.parent, path.name
        return record

    def retuned(self, record: RunRecord, tuning: TuningInfo) -> RunRecord:
        """A record of this store, its `tuning` replaced in the file by that given: the one change that is made to a stored record.

        A later tuning over another grid may end at the same choice: the same run, which then says which tuning stands behind it now, and how much was tried.
        Every other field stays byte for byte, the side file is not touched, and the file is replaced whole (a reader sees the old or the new). The file of the
        former tuning stays where `lt-bench tune` left it.

        Raises:
            UserError: the tuning is of another kind.
        """
        if record.tuning == tuning:
            return record
        record = replace(record, tuning=tuning)
        data = record.to_json()
        write_atomic(self.path(record), lambda file: file.write(_text(data).encode()))
        return record

    def load(self, id: str) -> RunRecord:  # noqa: A002
        """The record with this id.

        Raises:
            UserError: there is none, or its file is damaged.
        """
        path = self._find(id)
        if path is None:
            raise UserError(
                f"{self.directory}: no record with id {id}; `{with_results('lt-bench leaderboard', self.directory)}` lists what is there"
            )
        return read_record(path)

    def records(self) -> Iterator[RunRecord]:
        """Every record, checked, sorted by id."""
        for path in sorted(self.paths(), key=lambda path: path.stem.rpartition("-")[2]):
            yield read_record(path)

    def paths(self) -> list[Path]:
        """The JSON file of every record, sorted by path."""
        return record_paths(self.directory)

    def identities(self, dataset: str, strategy: str) -> Iterator[dict[str, Any]]:
        """The identity of every record of a strategy on a data set, unchecked; files that cannot be read are left out, and no others are read."""
        for path in (self.directory / dataset).glob(f"{glob.escape(strategy)}-????????????????.json"):
            with contextlib.suppress(UserError):
                yield read_json_object(path, RESTORE).get("identity") or {}

    def arrays(self, record_or_id: RunRecord | str) -> dict[str, NDArray[Any]]:
        """The arrays that were written with a record.

        Raises:
            UserError: no such record, or its `.npz` is missing, damaged or of another run.
        """
        record = self.load(record_or_id) if isinstance(record_or_id, str) else record_or_id
        record = record if record.arrays else self.load(record.id)  # one that was never written has no digests
        return arrays_of(record, self.path(record).with_suffix(".npz"))

    def validate(self) -> list[str]:
        """One line for each fault among the files, as `record_faults`."""
        return [fault for path in self.paths() for fault in record_faults(path)]

    def _find(self, id: str) -> Path | None:  # noqa: A002
        path = _joined((self._files or {}).get(id))
        return path if path is not None and path.is_file() else _joined(self._read_names().get(id))

    def _read_names(self) -> dict[str, tuple[Path, str]]:
        """Folder and name of the file of every record by its id, as they are now."""
        self._files = {
            name[:-5].rpartition("-")[2]: (folder, name)
            for folder, names in _names_by_folder(self.directory, names_in(self.directory)).items()
            for name in names
            if name.endswith(".json") and "-" in name and not name.startswith(".")
        }
        return self._files

    def _same(self, existing: Path, record: RunRecord, arrays: Arrays) -> RunRecord:
        stored = read_record(existing)
        old, new = stored.to_json(), record.to_json()
        changed = [name for name in ("metrics", "tuning", "seeds", "dataset", "backbone", "cache") if old[name] != new[name]]
        before = arrays_of(stored, existing.with_suffix(".npz"))
        changed += sorted(name for name in before.keys() | arrays.keys() if not _equal(before.get(name), arrays.get(name)))
        if changed:
            raise UserError(
                f"{existing}: this run is already recorded with other content ({', '.join(changed[:4])}); records are never overwritten: "
                f"compare with `lt-bench verify {word(existing)}`, or write to another --results directory"
            )
        return stored


def _joined(file: tuple[Path, str] | None) -> Path | None:
    return None if file is None else file[0] / file[1]


def record_faults(path: Path) -> list[str]:
    """One line for each fault of a record: off the schema, altered, in the wrong place, a missing or wrong side file, or another accuracy than its predictions give."""
    faults = []
    try:
        record = read_record(path)
        if path.absolute() != (belongs := Store(path.parent.parent).path(record)).absolute():
            faults.append(f"{path}: belongs at {belongs}")
        _checked_arrays(record, arrays_of(record, path.with_suffix(".npz")))
    except UserError as error:
        faults.append(str(error))
    return faults


def record_paths(directory: Path) -> list[Path]:
    """The JSON file of every record below a results directory, those of submissions in it included, sorted.

    Raises:
        UserError: there is no such directory, or a folder in it cannot be read.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: {_why_none(str(directory))}")
    folders = _names_by_folder(directory, names_in(directory))
    for submission, inside in [(one, names) for one, names in folders.items() if SUBMISSION in names]:
        folders |= _names_by_folder(submission, inside)
    found = (one / name for one, names in folders.items() for name in fnmatch.filter(names, "*-????????????????.json"))
    return sorted(path for path in found if path.is_file())


def _names_by_folder(directory: Path, inside: Iterable[str]) -> dict[Path, list[str]]:
    """The names in each folder of a directory that may be of a dataset or a submission.

    Args:
        directory: of records, or a submission.
        inside: names of what is in it.

    Raises:
        UserError: one of them cannot be listed.
    """
    return {directory / name: names_in(directory / name) for name in inside if name not in NOT_DATASETS and not name.startswith(".")}


def _why_none(name: str) -> str:
    """The fault in the name of a directory that is not there, and advice."""
    parts = [part.strip() for part in name.split(",")]
    named = [part for part in parts if part]
    if len(parts) == 1 or not named or not all(Path(part).is_dir() for part in named):
        return f"no such directory of records; `{with_results('lt-bench run', name)} ...` makes one"
    empty = "" if len(named) == len(parts) else "a name beside a comma is empty, and "
    if len(named) == 1:
        return f"{empty}one directory of records is read; name {named[0]} alone"
    return (
        f"{empty}one directory of records is read, not {len(named)}; name one of them (a submission that lies in it is read with it), "
        "and give runs that belong into one table the same --results"
    )


def read_record(path: Path) -> RunRecord:
    """A record from its file, checked against the schema and against its file name.

    Raises:
        UserError: names the file and the field, or the record where the file is of its arrays.
    """
    if path.suffix == ".npz":
        raise UserError(f"{path}: the arrays beside a record; name the record, {path.with_suffix('.json')}")
    record = RunRecord.from_json(read_json_object(path, RESTORE), path)
    if not path.stem.endswith(f"-{record.id}"):
        raise UserError(f"{path}: id is {record.id} but the file is named otherwise; rename it to {record.strategy.name}-{record.id}.json")
    return record


def read_arrays(path: Path, names: Iterable[str] | None = None, optional: bool = False) -> dict[str, NDArray[Any]]:
    """The arrays of a side file, all or those named; with `optional`, a name that is not there is left out.

    Raises:
        UserError: missing or damaged.
    """
    try:
        return read_npz(path, names, optional)
    except (OSError, ValueError) as error:
        raise unread(path, error) from error


def unread(path: Path, error: OSError | ValueError) -> UserError:
    """The error of a side file that is missing, damaged or not to be read."""
    if isinstance(error, PermissionError):
        return unreadable(path, error)
    reason = error.strerror or error if isinstance(error, OSError) else error
    return UserError(
        f"{path}: cannot be read ({reason}); it is written beside each record: restore it from a copy, or move the record away and run again"
    )


def arrays_of(record: RunRecord, path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a record from its side file.

    Raises:
        UserError: missing, damaged, altered or of another run.
    """
    arrays = read_arrays(path)
    check_arrays(arrays, record.arrays, path)
    if missing := sorted(record.arrays.keys() - arrays.keys()):
        raise UserError(f"{path}: {', '.join(missing)} missing, and the record has it; restore the file from a copy")
    return arrays


def _checked_arrays(record: RunRecord, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays in their stored types, sorted by name, so that equal content gives equal bytes."""
    check_where = f"the arrays of {record.strategy.name}-{record.id}"
    types = SAMPLE_ARRAYS | {TEST_GROUPS: np.int32}
    wanted = dict.fromkeys(types, (record.dataset.n_test,))
    if missing := sorted(SAMPLE_ARRAYS.keys() - arrays.keys()):
        raise UserError(f"{check_where}: {', '.join(missing)} missing")
    result = {}
    for name in sorted(arrays):
        array = np.asarray(arrays[name]).astype(types.get(name, np.float64))
        if name not in wanted and "/" not in name:
            raise UserError(f"{check_where}: {name}: per-class vectors are named '<view>/<name>'")
        shape = wanted.get(name, _epoch_shape(name, arrays) + (() if name == EPOCHS else (record.dataset.num_classes,)))
        if array.shape != shape:
            raise UserError(f"{check_where}: {name} has shape {array.shape}, expected {shape}")
        result[name] = array
    accuracy = float(np.mean(result["test_predictions"] == result["test_labels"]))
    if abs(accuracy - record.metrics["test"]["accuracy"]) > 1e-6:
        raise UserError(
            f"{check_where}: test_predictions give accuracy {accuracy:.6f}, metrics.test.accuracy says {record.metrics['test']['accuracy']:.6f}"
        )
    return result


def _epoch_shape(name: str, arrays: Arrays) -> tuple[int, ...]:
    """(E,) for the course of a fit, () for what has no epochs."""
    return (np.size(arrays.get(EPOCHS, ())),) if name.startswith(PER_EPOCH) else ()


def _equal(before: NDArray[Any] | None, after: NDArray[Any] | None) -> bool:
    return before is not None and after is not None and np.array_equal(before, after, equal_nan=before.dtype.kind == "f")


def _text(data: Mapping[str, Any]) -> str:
    """JSON with one line for each top-level field, in canonical form: small, a diff says which part changed, and the seal can be checked line by line."""
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {canonical_json(value)}" for key, value in data.items()) + "\n}\n"
