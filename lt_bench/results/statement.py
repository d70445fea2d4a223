"""The statement of a submission, `submission.json`: what was tuned on what, and run with which seeds and versions, by whom. Made of records alone. Free of torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from lt_bench.core.errors import UserError
from lt_bench.core.identity import canonical_json
from lt_bench.core.seals import check_seal, check_version, read_json_object, sealed
from lt_bench.results.differences import VERSIONS
from lt_bench.results.record import Mode, Name, Protocol, RunRecord, StrategyName, Text, TuningInfo
from lt_bench.results.schema import schema_of
from lt_bench.results.store import SUBMISSION
from lt_bench.results.verified import check_fields

SCHEMA_VERSION = 1
AGAIN = "run `lt-bench submit` again"
Link = Annotated[str | None, {"type": ["string", "null"], "pattern": r"^https?://\S+$"}]


@dataclass(frozen=True)
class Runs:
    """Runs that share everything but the seed.

    Attributes:
        cache: its name.
        objective: what chose the hyper-parameters on validation; None where nothing did.
        records: ids, in the order of the seeds.
    """

    dataset: Name
    split_hash: Text
    backbone: Text
    cache: Text
    cache_key: Text
    protocol: Protocol
    mode: Mode
    hyperparameters: dict[str, Any]
    tuning: TuningInfo
    objective: str | None
    seeds: list[int]
    records: list[Text]


@dataclass(frozen=True)
class Statement:
    """Statement of a submission.

    Attributes:
        sources: fingerprints of the files of the user's own, by path in ``source/``.
        versions: of everything that took part, each combination once.
        paper: its address.
        code_link: address of the author's repository.
    """

    strategy: StrategyName
    class_path: Text
    code: Text
    author: Text
    paper: Link
    code_link: Link
    sources: dict[str, str]
    runs: list[Runs]
    versions: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """The statement as plain JSON values with its seal."""
        return sealed(json.loads(canonical_json({"schema": SCHEMA_VERSION} | dataclasses.asdict(self))))


def statement_of(records: Sequence[RunRecord], author: str, paper: str | None, code_link: str | None) -> Statement:
    """The statement of records of one strategy.

    Raises:
        UserError: they are of several strategies or programs.
    """
    first = records[0]
    for record in records:
        names = ("strategy", "code")
        for name, one, other in zip(names, _program(first), _program(record), strict=True):
            if one != other:
                alike = ", ".join(one.id for one in records if _program(one) == _program(record))
                raise UserError(
                    f"records {first.id} and {record.id}: {name} is {one} and {other}; a submission has one strategy, as one program: "
                    f"submit without those of {other} ({alike}), or those alone"
                )
    groups: dict[str, list[RunRecord]] = {}
    for record in sorted(records, key=lambda record: (record.dataset.name, record.identity.cache_key, record.identity.seed, record.id)):
        groups.setdefault(canonical_json(dataclasses.asdict(dataclasses.replace(record.identity, seed=0))), []).append(record)
    versions = {canonical_json(one): one for record in records for one in [{name: record.environment[name] for name in VERSIONS}]}
    return Statement(
        first.identity.strategy, first.strategy.class_path, first.identity.code, author, paper, code_link, dict(first.strategy.files),
        [_runs(group) for group in groups.values()], [versions[text] for text in sorted(versions)],
    )  # fmt: skip


def _program(record: RunRecord) -> tuple[str, str]:
    return record.identity.strategy, record.identity.code


def _runs(group: Sequence[RunRecord]) -> Runs:
    one = group[0]
    identity, tuning = one.identity, one.tuning
    return Runs(
        one.dataset.name, one.dataset.split_hash, one.backbone.name, one.cache.name, identity.cache_key, identity.protocol, identity.mode,
        identity.hyperparameters, tuning, (tuning.objective or "macro") if tuning.selected_on else None,
        [record.identity.seed for record in group], [record.id for record in group],
    )  # fmt: skip


def read_statement(folder: Path) -> dict[str, Any]:
    """The statement of a submission.

    Raises:
        UserError: missing, damaged or altered.
    """
    path = folder / SUBMISSION
    content = read_json_object(path, f"restore it from a copy, or move it away and {AGAIN}")
    check_version(content, SCHEMA_VERSION, path, "a statement", AGAIN)
    check_seal(content, path, AGAIN)
    schema = schema_of(Statement)
    fields = {name: value for name, value in content.items() if name not in ("schema", "seal")}
    check_fields(fields, schema, path, AGAIN)
    return content


def submission_of(path: Path) -> Path | None:
    """The folder of a submission that a path is, or that a record lies in; None where it is none."""
    return next((place for place in (path, path.absolute().parent.parent) if (place / SUBMISSION).is_file()), None)
