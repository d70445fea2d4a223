"""Verified records: `verified.json` beside records says which of them `lt-bench verify` has repeated, by which program, on which machine. Free of torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.seals import check_seal, check_version, read_json_object, sealed
from lt_bench.results.record import Digest, Environment, Seconds, Text, TimeInfo
from lt_bench.results.schema import schema_of

VERIFIED = "verified.json"
SCHEMA_VERSION = 1
AGAIN = "run `lt-bench verify` on its folder again"
REPEATS = 1e-5
"""Largest difference of a metric of a record that repeats, relative to figures above 1: the default of `lt-bench verify --tolerance`."""


@dataclass(frozen=True)
class Verification:
    """A record that was repeated.

    Attributes:
        seal: of the record as it was.
        difference: the largest of a metric, as `results.compare` has it.
        metric: which that is.
        tolerance: the largest difference that passed.
        code: the program that repeated it.
        environment: versions and machine of the second fit.
        finished: when it ended (ISO 8601, UTC).
    """

    seal: Digest
    difference: Seconds
    metric: Text
    tolerance: Seconds
    code: Text
    environment: Annotated[dict[str, Any], schema_of(Environment)]
    finished: Annotated[str, schema_of(TimeInfo)["properties"]["finished"]]


def read_verified(directory: Path) -> dict[str, Verification]:
    """The verifications of a results directory, by id; none where it has no such file.

    Raises:
        UserError: the file is damaged or was altered.
    """
    path = directory / VERIFIED
    if not path.is_file():
        return {}
    content = read_json_object(path, f"move it away and {AGAIN}")
    check_version(content, SCHEMA_VERSION, path, "a list of verified records", AGAIN)
    check_seal(content, path, AGAIN)
    check_fields(content.get("records"), schema_of(dict[str, Verification]), path, AGAIN)
    return {id_: Verification(**one) for id_, one in content["records"].items()}


def write_verified(directory: Path, verified: Mapping[str, Verification]) -> Path:
    """Write what was verified of a results directory, sealed."""
    records = {id_: dataclasses.asdict(verified[id_]) for id_ in sorted(verified)}
    content = sealed({"schema": SCHEMA_VERSION, "records": records})
    return write_text(directory / VERIFIED, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def check_fields(content: Any, schema: dict[str, Any], path: Path, again: str) -> None:
    """Check JSON values against a schema.

    Raises:
        UserError: names the file and the field.
    """
    from jsonschema import Draft202012Validator  # 0.1 s of imports that a table does not need
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(content))
    if error is not None:
        field = ".".join(map(str, error.absolute_path)) or "the top level"
        raise UserError(f"{path}: {field}: {error.message[:300]}; move it away and {again}")
