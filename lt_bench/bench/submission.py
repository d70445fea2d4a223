"""Submissions: a folder that a pull request can carry, with records of one strategy, its source, the tunings behind them and a sealed statement. Free of torch.

The folder is a results directory too: `lt-bench leaderboard --results FOLDER` reads it, alone or among the records of the directory that it lies in.
"""

from __future__ import annotations

import glob
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lt_bench.bench.options import SubmitOptions
from lt_bench.bench.tuned import read_tuning
from lt_bench.core.activity import steps
from lt_bench.core.errors import UserError
from lt_bench.core.files import put_on_disk, write_atomic, write_text
from lt_bench.core.folders import files_below, matching
from lt_bench.core.leftovers import temporary_beside
from lt_bench.core.names import search_current_folder
from lt_bench.core.provenance import combined, file_of, source_digest
from lt_bench.features.locate import shipped
from lt_bench.results.record import RunRecord
from lt_bench.results.statement import AGAIN, Statement, read_statement, statement_of
from lt_bench.results.store import SUBMISSION, read_record, record_faults, record_paths
from lt_bench.results.verified import read_verified
from lt_bench.strategies.ensembles import members_in

SOURCE, TUNING = "source", "tuning"
_PYTHON_FILE = re.compile(r"(\w+/)*\w+\.py")
_OWN = re.compile(r"own (\w+)")
_LINK = re.compile(r"https?://\S+")


def submit(options: SubmitOptions) -> Statement:
    """Make the folder of a submission, or add records to one.

    Raises:
        UserError: an option is missing; a record, its source or its tuning has a fault; the folder holds something else. Nothing is written then.
    """
    _check_options(options)
    assert options.out is not None
    given = {read_checked(path).id: path for path in _paths(options.records)}
    earlier = _earlier(options.out, given)
    records = {path: read_checked(path) for path in steps((earlier | given).values(), "records checked")}
    statement = statement_of(list(records.values()), options.author.strip(), options.paper, options.code)
    _require_same_program(options.out, statement, earlier)
    files = sources_of(statement)
    for path, record in records.items():
        files |= {f"{record.dataset.name}/{one.name}": one for one in (path, path.with_suffix(".npz"))} | tunings_of(path, record)
    _require_unchanged(options.out, files)
    _write(options.out, files, statement)
    return statement


def _check_options(options: SubmitOptions) -> None:
    if not options.records or options.out is None:
        raise UserError(
            "submit needs records and a folder: lt-bench submit results/DATASET/my_head.MyHead-*.json --out FOLDER --author NAME"
        )
    if not options.author.strip():
        raise UserError("submit needs --author, whom the leaderboard should name")
    for name in ("paper", "code"):
        link = getattr(options, name)
        if link is not None and not _LINK.fullmatch(link):
            raise UserError(f"--{name} {link}: expected an address, https://...")


def _paths(given: list[Path]) -> list[Path]:
    return [one for path in given for one in (record_paths(path) if path.is_dir() else [path.with_suffix(".json")])]


def read_checked(path: Path) -> RunRecord:
    """Read a record after the checks of `lt-bench validate`.

    Raises:
        UserError: the first fault of the record.
    """
    for fault in record_faults(path):
        raise UserError(fault)
    return read_record(path)


def _earlier(out: Path, given: Mapping[str, Path]) -> dict[str, Path]:
    """Records by id of an earlier submission in the folder.

    Raises:
        UserError: the folder holds something else, or lies in the results directory of the given records.
    """
    if out.exists() and not (out / SUBMISSION).is_file():
        raise UserError(f"{out}: exists and is no submission of lt-bench; name another folder with --out")
    if out.exists():
        read_statement(out)
        return {read_checked(path).id: path for path in record_paths(out)}
    for path in given.values():
        if out.absolute().is_relative_to(path.absolute().parent.parent):
            raise UserError(f"{out}: lies in {path.parent.parent}, where its records would count twice; name another folder with --out")
    return {}


def _require_same_program(out: Path, statement: Statement, earlier: Mapping[str, Path]) -> None:
    """Refuse the folder of another strategy or program; only for submissions without records, since `statement_of` compares all records.

    Raises:
        UserError: the folder is of another strategy or program.
    """
    if out.exists() and not earlier:
        before = read_statement(out)
        if (before["strategy"], before["code"]) != (statement.strategy, statement.code):
            raise UserError(f"{out}: a submission of {before['strategy']} ({before['code']}); name another folder with --out")


def sources_of(statement: Statement, place: Callable[[str], Path | None] | None = None) -> dict[str, Path]:
    """Source files of the user's own that the records were made with, by path in the submission.

    Args:
        statement: of the records.
        place: the file of a name; by default where Python finds it.

    Raises:
        UserError: a file is missing, is no Python file, or was changed since.
    """
    search_current_folder()
    files = {}
    for name, known in statement.sources.items():
        if name.startswith("lt_bench/"):
            raise UserError(
                f"the records were made by an edited suite ({name}); submit needs runs of a released one, and a strategy in a file of its own"
            )
        if not _PYTHON_FILE.fullmatch(name):
            raise UserError(
                f"{statement.strategy}: {name!r} is no file of Python (a notebook's cell, or compiled); put it in one, and run again"
            )
        path = (place or file_of)(name)
        if path is None or not path.is_file():
            raise UserError(f"{name}: not found; the records were made with it: put it on PYTHONPATH or in the current folder")
        if _digest(path) != known:
            raise UserError(
                f"{path}: not the program that the records were made with (then {known}, now {_digest(path)}); restore it, or run again"
            )
        files[f"{SOURCE}/{name}"] = path
    said = match[1] if (match := _OWN.match(statement.code)) else None
    if said != (combined(statement.sources) if statement.sources else None):
        raise UserError(f"{statement.strategy}: its code ({statement.code}) is not that of the files that the records name; run again")
    return files


def _digest(path: Path) -> str:
    try:
        return source_digest(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        return f"no Python, {type(error).__name__}"


def tunings_of(path: Path, record: RunRecord) -> dict[str, Path]:
    """The tuning files that a record names, by path in the submission.

    Raises:
        UserError: a tuning is missing.
    """
    names, files = members_in(record.identity.strategy) or [record.identity.strategy], {}
    places = (path.parent.parent / TUNING, shipped("tuned"))
    candidates = [one for place in places for name in names for one in matching(place, f"{glob.escape(name)}-*.json")]
    for wanted in _ids_of(record):
        file = next((one for one in candidates if read_tuning(one)["id"] == wanted), None)
        if file is None:
            raise UserError(
                f"{path}: tuned by {wanted}, which is not in {path.parent.parent / TUNING}; restore that file, or tune and run again"
            )
        files[f"{TUNING}/{file.name}"] = file
    return files


def _ids_of(record: RunRecord) -> list[str]:
    """Ids of a record's tunings; one for each member of an ensemble."""
    return [] if record.tuning.tuning_id is None else record.tuning.tuning_id.split("+")


def _require_unchanged(out: Path, files: Mapping[str, Path]) -> None:
    for name, path in files.items():
        if (out / name).exists() and (out / name).read_bytes() != path.read_bytes():
            raise UserError(f"{out / name}: there already with other content than {path}; name another folder with --out")


def _write(out: Path, files: Mapping[str, Path], statement: Statement) -> None:
    """Write the submission: a new folder appears complete; an earlier one gains the files it lacks, the statement last."""
    place = out if out.exists() else temporary_beside(out.absolute())
    try:
        for name, path in files.items():
            if not (place / name).exists():
                content = path.read_bytes()
                write_atomic(place / name, lambda file, content=content: file.write(content))
        write_text(place / SUBMISSION, json.dumps(statement.to_json(), indent=1, ensure_ascii=False) + "\n")
        if place != out:
            place.rename(out)
            put_on_disk(out.absolute().parent)
    finally:
        if place != out:
            shutil.rmtree(place, ignore_errors=True)


def submission_faults(folder: Path) -> list[str]:
    """One line for each fault of a submission: of its records, tunings, source, statement and verifications."""
    paths = record_paths(folder)
    if faults := [fault for path in paths for fault in record_faults(path)] or _tuning_faults(folder):
        return faults
    try:
        said = read_statement(folder)
        if not paths:
            return [f"{folder}: no records; {AGAIN}"]
        records = [read_record(path) for path in paths]
        statement = statement_of(records, said["author"], said["paper"], said["code_link"])
        tunings = {read_tuning(path)["id"] for path in matching(folder / TUNING, "*.json")}
        missing = sorted({one for record in records for one in _ids_of(record)} - tunings)
        differing = [name for name, value in statement.to_json().items() if said.get(name) != value]
        sources_of(statement, lambda name: folder / SOURCE / name)
        read_verified(folder)
    except UserError as error:
        return [str(error)]
    more = sorted(_files_of(folder / SOURCE) - statement.sources.keys())
    return [
        *(f"{folder / TUNING}: the tuning {one} is missing, and records say that they were tuned by it; {AGAIN}" for one in missing),
        *(f"{folder / SUBMISSION}: {name} is not what the records say; {AGAIN}" for name in differing[:1]),
        *(f"{folder / SOURCE / name}: no part of the program of the records; move it out of the submission" for name in more),
    ]


def check_submission(folder: Path) -> None:
    """Refuse a submission with a fault, before anything of it is imported.

    Raises:
        UserError: the first fault of the submission.
    """
    for fault in submission_faults(folder):
        raise UserError(fault)


def _tuning_faults(folder: Path) -> list[str]:
    faults = []
    for path in matching(folder / TUNING, "*.json"):
        try:
            read_tuning(path)
        except UserError as error:
            faults.append(str(error))
    return faults


def _files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in files_below(folder)}


def shown(statement: Statement) -> dict[str, Any]:
    """Numbers of records and tunings, and names of source files, of a submission."""
    return {
        "records": sum(len(one.records) for one in statement.runs),
        "sources": sorted(statement.sources),
        "tunings": len({id_ for one in statement.runs for id_ in (one.tuning.tuning_id or "").split("+")} - {""}),
    }
