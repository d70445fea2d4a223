"""Repetition of every record of a submission from the source in its folder, which is imported."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lt_bench.bench.execute import Callbacks
from lt_bench.bench.options import VerifyOptions
from lt_bench.bench.submission import SOURCE, check_submission
from lt_bench.bench.verify import DifferentError, changed_files, check_repeats, environment_for, verify
from lt_bench.core.errors import UserError
from lt_bench.results.record import RunRecord
from lt_bench.results.store import read_record, record_paths
from lt_bench.results.verified import Verification, read_verified, write_verified
from lt_bench.strategies.registry import find
from lt_bench.strategies.revisions import code_of


def verify_submission(
    folder: Path, options: VerifyOptions, callbacks: Callbacks = tuple
) -> Iterator[tuple[RunRecord, Verification | UserError]]:
    """Repeat the named record, or all records of a submission; ``verified.json`` gains the records that repeat and loses those that differ.

    Yields:
        Each record with its verification, or the error where it does not repeat.

    Raises:
        UserError: the submission has a fault.
    """
    check_submission(folder)
    assert options.record is not None
    for path in record_paths(folder) if options.record.is_dir() else [options.record]:
        record = read_record(path)
        try:
            with source_of(folder):
                outcome = _repeat(record, dataclasses.replace(options, record=path), callbacks)
        except UserError as error:
            outcome = error
        if isinstance(outcome, Verification | DifferentError):  # a record that could not be tried here leaves its earlier verification
            others = {id_: one for id_, one in read_verified(folder).items() if id_ != record.id}
            write_verified(folder, others if isinstance(outcome, DifferentError) else others | {record.id: outcome})
        yield record, outcome


@contextlib.contextmanager
def source_of(folder: Path) -> Iterator[None]:
    """Add the source of a submission to the end of the import path within the block, and write no compiled files into it."""
    place, before = str((folder / SOURCE).absolute()), sys.dont_write_bytecode
    sys.path.append(place)
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(place)


def _repeat(record: RunRecord, options: VerifyOptions, callbacks: Callbacks) -> Verification:
    code = code_of(find(record.identity.strategy), record.identity.hyperparameters)
    if differing := changed_files(record, code):
        raise UserError(f"{options.record}: another {', '.join(differing)} was found than the submission's; take it off PYTHONPATH")
    _, differences = verify(options, callbacks)
    check_repeats(options, record, differences)
    metric = max(differences, key=lambda name: differences[name])
    seal = record.to_json()["seal"]
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return Verification(seal, differences[metric], metric, options.tolerance, code.text, environment_for(record), finished)
