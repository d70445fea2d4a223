"""Reading a directory of records into one frame, fast: a field that many records share (the split, the environment) is parsed once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.activity import steps
from lt_bench.core.commands import with_results, word
from lt_bench.core.documents import parse_json
from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.identity import canonical_json
from lt_bench.core.seals import SEAL, check_version, digest_of, json_object, seal_of
from lt_bench.metrics.groups import ShotGroups, shot_groups
from lt_bench.results.record import AGAIN, SCHEMA_VERSION, RunRecord
from lt_bench.results.seal import array_digest, check_arrays
from lt_bench.results.shared_images import shared_words
from lt_bench.results.store import NOT_DATASETS, RESTORE, TEST_GROUPS, Arrays, read_arrays, record_paths, unread
from lt_bench.results.verified import REPEATS, read_verified

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Split:
    """The K classes of a cache and their training counts."""

    class_names: tuple[str, ...]
    train_counts: NDArray[np.int64]

    @property
    def groups(self) -> ShotGroups:
        """Many-, medium- and few-shot classes at the usual thresholds (> 100, < 20)."""
        return shot_groups(self.train_counts)


class RunInMemory(Protocol):
    """Protocol of the runs that `lt_bench.fit` returns."""

    @property
    def record(self) -> RunRecord:  # noqa: D102
        ...

    @property
    def arrays(self) -> Arrays:  # noqa: D102
        ...


Measured = RunRecord | tuple[RunRecord, Arrays] | RunInMemory
"""A run in memory, with its arrays or without."""
PER_CLASS = ("test/class_accuracy", "test/class_total")
"""Side arrays (K,), which are read with the first others of a file."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Records as columns, one value a record, sorted by id, and the classes of their caches by key.

    Columns are the scalar fields of a record; metrics are named `<view>/<metric>`, e.g. `test/accuracy`; `hyperparameters` and `environment` are
    canonical JSON; `path` is the record's file ("" for a record in memory). Numeric columns have NaN, others None, for what is missing.
    `arrays` are those of records in memory, by id; of records in files, `digests` are those of the arrays beside them, `seals` their own.
    `verified` are the ids of records that were repeated as they stand (`results.verified`).
    """

    columns: dict[str, NDArray[Any]]
    splits: dict[str, Split]
    arrays: dict[str, Arrays] = field(default_factory=dict)
    digests: dict[str, Mapping[str, str]] = field(default_factory=dict)
    seals: dict[str, str] = field(default_factory=dict)
    verified: frozenset[str] = frozenset()
    per_class: dict[str, Arrays] = field(default_factory=dict, repr=False)  # of files that were read: small, and many tables ask for them

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The columns as a data frame."""
        import pandas  # half a second that tables do not need

        return pandas.DataFrame(self.columns)

    @property
    def has_arrays(self) -> bool:
        """Whether every run has its test predictions: files always do."""
        in_memory = self.columns["id"][self.columns["path"] == ""]
        return all("test_predictions" in self.arrays.get(id, ()) for id in in_memory)  # noqa: A001

    def read(self, position: int, *names: str) -> list[NDArray[Any]]:
        """Side arrays of a record, by name, without reading the others; its file is read once.

        Raises:
            UserError: one is not there.
        """
        arrays = self._find(position, names)
        for name in names:
            if name not in arrays:
                raise UserError(f"{self.columns['path'][position] or 'record ' + self.columns['id'][position]}: no array {name}; run again")
        return [arrays[name] for name in names]

    def array(self, position: int, name: str) -> NDArray[Any]:
        """One side array of a record, as of ``read``."""
        return self.read(position, name)[0]

    def find_array(self, position: int, name: str) -> NDArray[Any] | None:
        """One side array of a record, or None where it has none of that name.

        Raises:
            UserError: it is not the one that was recorded, or its file cannot be read.
        """
        return self.find_arrays(position, name)[0]

    def find_arrays(self, position: int, *names: str) -> list[NDArray[Any] | None]:
        """Several side arrays of a record as of ``find_array``; its file is read once."""
        arrays = self._find(position, names)
        return [arrays.get(name) for name in names]

    def _find(self, position: int, names: tuple[str, ...]) -> Arrays:
        id_, path = self.columns["id"][position], str(self.columns["path"][position])
        if not path:
            return self.arrays.get(id_, {})
        read_before = self.per_class.get(id_)
        if read_before is not None and set(names) <= set(PER_CLASS):
            return read_before
        side, digests = Path(path).with_suffix(".npz"), self.digests[id_]
        asked = [name for name in names if name in digests]
        if not asked:
            return {}
        besides = PER_CLASS if read_before is None else ()
        arrays = read_arrays(side, [*asked, *(name for name in besides if name in digests and name not in asked)])
        check_arrays(arrays, digests, side)
        self.per_class.setdefault(id_, {name: arrays[name] for name in PER_CLASS if name in arrays})
        return arrays

    def digest(self, position: int, name: str) -> str | None:
        """The digest of one side array of a record, without reading its file; None where it has none of that name."""
        id_ = self.columns["id"][position]
        array = self.arrays.get(id_, {}).get(name)
        return self.digests.get(id_, {}).get(name) if array is None else array_digest(array)

    def content(self, position: int) -> bytes:
        """The content on which statistics of a record depend: its seal and a digest of the file beside it; of one in memory, its columns, predictions and groups.

        Raises:
            UserError: the file beside it cannot be read.
        """
        if path := str(self.columns["path"][position]):
            side = Path(path).with_suffix(".npz")
            try:
                return f"{self.seals[self.columns['id'][position]]} {digest_of(side)}".encode()
            except OSError as error:
                raise unread(side, error) from None
        own = [b"" if array is None else array.tobytes() for array in self.find_arrays(position, "test_predictions", TEST_GROUPS)]
        return b"".join([repr([column[position] for column in self.columns.values()]).encode(), *own])


def load_records(directory: Path | str) -> Runs:
    """Every record below a results directory.

    The seal of each has to hold. Records are not checked against the JSON schema here (`Store.validate` does); a field that is missing is an error that names
    file and field.

    Raises:
        UserError: no such directory, a file that is no record or was altered (`verified.json` too), or the same id in two files.
    """
    flat: list[dict[str, Any]] = []
    splits: dict[str, Split] = {}
    memo: dict[Any, Any] = {}
    digests: dict[str, Mapping[str, str]] = {}
    seals: dict[str, str] = {}
    paths = record_paths(Path(directory))
    for path in steps(paths, "records read"):
        data = _parse(path, memo)
        try:
            flat.append(_flatten(data, memo) | {"path": str(path)})
            _add_split(splits, data)
            digests[data["id"]], seals[data["id"]] = data["arrays"], data[SEAL]
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: field {error} is missing or of the wrong type; move the record away and run again") from error
        if data["id"] not in path.stem:
            raise UserError(f"{path}: id is {data['id']} but the file is named otherwise; rename it")
    places = sorted({path.parent.parent for path in paths})
    verified = frozenset(
        id_ for place in places for id_, one in read_verified(place).items() if seals.get(id_) == one.seal and one.difference <= REPEATS
    )
    return replace(_runs(flat, splits, str(directory)), digests=digests, seals=seals, verified=verified)


def from_records(measured: Iterable[Measured]) -> Runs:
    """Runs made of records in memory; a run that is given twice counts once.

    Raises:
        UserError: no records, or two of one id with other numbers.
    """
    lines: dict[str, dict[str, Any]] = {}
    splits: dict[str, Split] = {}
    memo: dict[Any, Any] = {}
    arrays: dict[str, Arrays] = {}
    for one in measured:
        record, arrays_of_it = (one, {}) if isinstance(one, RunRecord) else one if isinstance(one, tuple) else (one.record, one.arrays)
        data: dict[str, Any] = {"id": record.id} | dataclasses.asdict(record)
        line = _flatten(data, memo) | {"path": ""}
        if names := _differing(lines.setdefault(record.id, line), line):
            raise UserError(f"run {record.id} was given twice, with another {names}; leave one of them out")
        arrays[record.id] = {**arrays.get(record.id, {}), **arrays_of_it}
        _add_split(splits, data)
    return _runs([*lines.values()], splits, "the records given", arrays)


def _runs(flat: list[dict[str, Any]], splits: dict[str, Split], where: str, arrays: dict[str, Arrays] | None = None) -> Runs:
    if not flat:
        if any(Path(where).glob("*.json")):
            raise UserError(
                f"{where}: a results directory has a folder for each data set, and this may be such a folder; give {Path(where).parent}"
            )
        below = sorted(
            {path.parents[1] for path in Path(where).glob("*/*/*-????????????????.json") if path.parent.name not in NOT_DATASETS}
        )
        makes = f"`{with_results('lt-bench run --strategy los --dataset cifar100_lt', where)}` makes the first"
        raise UserError(f"{where}: no records; {f'there are some in {below[0]}: --results {word(below[0])}' if below else makes}")
    flat.sort(key=lambda item: item["id"])
    for first, second in pairwise(flat):
        if first["id"] == second["id"]:
            names = _differing(first, second)
            raise UserError(
                f"{first['path']} and {second['path']} have the same id, "
                + (
                    f"with another {names}; `lt-bench verify {word(first['path'])}` says which one repeats: move the other"
                    if names
                    else "and are the same run: move one of them"
                )
                + f" out of {where}"
            )
    names = dict.fromkeys(name for keys in dict.fromkeys(map(tuple, flat)) for name in keys)
    if len(flat[0]) == len(names) == min(map(len, flat)):
        values = zip(*map(itemgetter(*names), flat), strict=True)  # all have all fields: columns at C speed
    else:
        values = ([item.get(name) for item in flat] for name in names)
    columns = {name: _column(list(column)) for name, column in zip(names, values, strict=True)}
    for name in (name for name, column in columns.items() if "/" in name and column.dtype == object):
        for item in flat:
            if not isinstance(item.get(name), int | float | None):
                raise UserError(f"{item['path']}: metric {name} is {item[name]!r}, expected a number; move the record away and run again")
    return Runs(columns, splits, arrays or {})


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """The first four fields in which two records of one run differ, apart from place, environment, command and times; empty where there are none."""
    names = [name for name in {**first, **second} if name not in _OF_THE_FIT and repr(first.get(name)) != repr(second.get(name))]
    return ", ".join(names[:4])


_OF_THE_FIT = {"path", "environment", "command", "cache_name", "fit_s", "evaluate_s", "finished"}


def _column(values: list[Any]) -> NDArray[Any]:
    """Numbers as a numeric array, with NaN for None; anything else as objects."""
    kinds = set(map(type, values))
    if kinds <= {int, float, type(None)} and kinds != {type(None)}:
        return np.array(values if type(None) not in kinds else [math.nan if value is None else value for value in values])
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _parse(path: Path, memo: dict[Any, Any]) -> dict[str, Any]:
    """The JSON of one file, whose seal holds. The store writes one line a field; a line seen before is neither parsed nor put into canonical form again."""
    try:
        text = path.read_text(encoding="utf-8")
        lines = text.split("\n")
        by_line = lines[0] == "{" and len(lines) > 3 and all(line.startswith('"') for line in lines[1:-2])
        data, seal = _by_line(lines[1:-2], memo) if by_line else (None, None)
    except PermissionError as error:
        raise unreadable(path, error) from None
    except (OSError, ValueError, RecursionError, UserError) as error:
        raise UserError(f"{path}: damaged ({error}); {RESTORE}") from error
    if data is None:
        data = json_object(text, path, RESTORE)
    check_version(data, SCHEMA_VERSION, path, "a record", AGAIN)
    if data.get(SEAL) != (seal or seal_of(data)):
        raise UserError(
            f"{path}: altered after it was written (its seal does not hold); {RESTORE}; "
            f"`lt-bench validate {word(path.parent.parent)}` names all that do not hold"
        )
    return data


def _by_line(lines: list[str], memo: dict[Any, Any]) -> tuple[dict[str, Any], str]:
    """The fields of a record that is stored one field a line, without the history of the fit, and the seal that they imply.

    The store writes fields in canonical form, so the seal is computed from the lines as they are. If it does not match, the lines are first put into canonical form.

    Raises:
        ValueError: not JSON, or a field stands twice.
        UserError: a field has no canonical form.
    """
    texts = {name.strip('"'): text for name, _, text in (line.removesuffix(",").partition(": ") for line in lines)}
    if len(texts) != len(lines):
        raise ValueError("a field stands twice")
    seal = _seal_of_parts(texts)
    if texts.get(SEAL) != f'"{seal}"':
        seal = _seal_of_parts({name: canonical_json(parse_json(text)) for name, text in texts.items()})
    data = {}
    for name, text in texts.items():
        if name not in _SHARED:
            data[name] = json.loads(_HISTORY.sub("", text) if name == "training" else text)
        elif text in memo:
            data[name] = memo[text]
        else:
            data[name] = memo[text] = json.loads(text)
    return data, seal


def _seal_of_parts(parts: Mapping[str, str]) -> str:
    """The seal of a record, from the canonical JSON of each field."""
    canonical = ",".join(f'"{name}":{parts[name]}' for name in sorted(parts) if name != SEAL)
    return hashlib.sha256(f"{{{canonical}}}".encode()).hexdigest()


_HISTORY = re.compile(r'"history": ?\[[^\]]*\], ?|, ?"history": ?\[[^\]]*\]')
"""The course of a fit over its epochs: by far the longest part of a record, which no table shows."""
_SHARED = {"strategy", "dataset", "backbone", "cache", "tuning", "environment"}


def _add_split(splits: dict[str, Split], data: Mapping[str, Any]) -> None:
    key, dataset = data["cache"]["key"], data["dataset"]  # two caches of the same rows may name their classes otherwise
    if key not in splits:
        splits[key] = Split(tuple(dataset["class_names"]), np.array(dataset["train_counts"], dtype=np.int64))


# Columns named after their field, by part of the record.
_FIELDS = {
    "strategy": ("class_path", "family", "paper", "sampler", "trains", "inferred"),
    "dataset": ("imbalance_factor", "selection", "split_hash", "num_classes", "n_train", "n_test"),
    "identity": ("protocol", "mode", "seed", "code"),
    "tuning": ("selected_on", "grid_size", "tuning_id"),
    "training": ("epochs", "steps", "batch_size", "trained_parameters"),
    "time": ("fit_s", "evaluate_s", "finished"),
}
_READ = {part: itemgetter(*names) for part, names in _FIELDS.items()}


def _flatten(data: Mapping[str, Any], memo: dict[Any, Any]) -> dict[str, Any]:
    """One line of the frame."""
    flat = {
        "id": data["id"],
        "strategy": data["strategy"]["name"],
        "contract": data["strategy"].get("contract"),
        "health": " ".join(data["training"].get("health") or ()) or None,
        "hyperparameters": canonical_json(data["identity"]["hyperparameters"]),
        "dataset": data["dataset"]["name"],
        "backbone": data["backbone"]["name"],
        "stage1": data["backbone"]["stage1"],
        "weights_hash": data["backbone"]["weights_hash"],
        "cache_key": data["cache"]["key"],
        "cache_name": data["cache"]["name"],
        "shared_images": shared_words(data["cache"].get("shared") or {}) or None,
        "varies": data["seeds"]["varies"],
        "tuning": data["tuning"]["kind"],
        "tuning_objective": data["tuning"].get("objective"),
        "validation": data["tuning"].get("validation"),
        "choice_error": data["tuning"].get("standard_error"),
        "alone_best": data["tuning"].get("alone_best"),
        "whole_grid": data["tuning"].get("whole_grid"),
        "environment": _environment(data["environment"], memo),
        "command": data["command"],
    }
    for part, names in _FIELDS.items():
        flat.update(zip(names, _READ[part](data[part]), strict=True))
    for view, values in data["metrics"].items():
        names = (view, *values)
        if names not in memo:
            memo[names] = [f"{view}/{name}" for name in values]
        flat.update(zip(memo[names], values.values() if None not in values.values() else map(_nan_for_null, values.values()), strict=True))
    return flat


def _nan_for_null(value: float | None) -> float:
    return math.nan if value is None else value


def _environment(environment: Mapping[str, Any], memo: dict[Any, Any]) -> str:
    """Canonical JSON of an environment, made once for each parsed one (the memo keeps that object alive, so its id stays its own)."""
    key = ("environment", id(environment))
    if key not in memo:
        memo[key] = canonical_json(environment)
        memo["alive", id(environment)] = environment
    return memo[key]
