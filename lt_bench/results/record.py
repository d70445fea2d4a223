"""The run record: everything that is known about one measured run, in one small JSON file that is written once (but for `tuning`, see `results.store`).

The types of the fields, with their limits, are the schema that a file is checked against.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, get_type_hints

from lt_bench.core.errors import UserError
from lt_bench.core.identity import record_id
from lt_bench.core.seals import SEAL, check_seal, check_version, sealed
from lt_bench.results.schema import schema_of

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

SCHEMA_VERSION = 2

AGAIN = "run again"
"""The end of messages about a record that cannot be used."""
PASSED = "passed"
"""Mark of a user's own strategy that passed the checks of the contract."""
MATMUL = "matmul"
"""The entry beside hyper-parameters that says that products of the fit were less exact."""
Protocol = Literal["clean", "images-eval", "images-train"]
Mode = Literal["head", "end-to-end"]
TuningKind = Literal["official", "tuned", "inferred", "author-tuned", "user"]
Name = Annotated[str, {"pattern": "^[A-Za-z0-9_.-]+$", "not": {"pattern": "^\\."}}]
"""A part of a path."""
StrategyName = Annotated[str, {"pattern": "^[A-Za-z0-9_.()+-]+$", "not": {"pattern": "^\\."}}]
"""A part of a path that names a strategy, or an ensemble of several."""
Text = Annotated[str, {"minLength": 1}]
Natural = Annotated[int, {"minimum": 0}]
Positive = Annotated[int, {"minimum": 1}]
Seconds = Annotated[float, {"minimum": 0}]
Digest = Annotated[str, {"pattern": "^[0-9a-f]{64}$"}]
"""SHA-256."""
Number = Annotated[float, {"type": ["number", "null"]}]
"""NaN here, null in the file."""
Figure = Annotated[float | str | None, {"type": ["number", "string", "null"]}]
"""The figure of a sign of `results.health`."""


@dataclass(frozen=True)
class Identity:
    """Fields that the record's id is the hash of: two runs that share them are the same run. `code` says which program the strategy was."""

    strategy: StrategyName
    hyperparameters: dict[str, Any]
    cache_key: Text
    protocol: Protocol
    mode: Mode
    tuning: TuningKind
    seed: int
    code: Text


@dataclass(frozen=True)
class StrategyInfo:
    """The strategy's own description.

    Attributes:
        trains: "nothing" or what is trained.
        inferred: some default is not stated by paper or official code.
        contract: of a strategy of the user's own: "passed", or what `lt-bench check` said first; None for one of the suite's.
        files: fingerprints of the files whose code is not the suite's, those that `Identity.code` is made of.
    """

    name: StrategyName
    family: str
    paper: str
    sampler: Text
    trains: Text
    class_path: Text
    inferred: bool
    contract: Annotated[str | None, {"default": None}] = None
    files: Annotated[dict[str, str], {"default": {}}] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetInfo:
    """The split: its content hash, its K classes and their training counts."""

    name: Name
    imbalance_factor: float | None
    selection: str | None
    split_hash: Text
    num_classes: Annotated[int, {"minimum": 2}]
    class_names: list[str]
    train_counts: list[Natural]
    n_train: Positive
    n_val: Natural
    n_test: Positive
    val_seen_by_backbone: bool


@dataclass(frozen=True)
class BackboneInfo:
    """The frozen encoder: name, hash of its weights, feature dimension D and how stage 1 was trained."""

    name: Text
    weights_hash: str | None
    dim: Positive
    stage1: str | None


@dataclass(frozen=True)
class CacheInfo:
    """The feature cache that was read; `shared` are images that its splits share, where they are many (`results.shared_images`)."""

    key: Text
    name: Text
    dtype: Text
    views: list[Text]
    shared: Annotated[dict[str, list[Natural]], {"default": {}}] = field(default_factory=dict)


@dataclass(frozen=True)
class TuningInfo:
    """Origin of the hyper-parameters, and how validation chose them.

    Attributes:
        objective: kind of the objective that validation chose by; None for macro accuracy.
        validation: the validation images of the choice, in words.
        standard_error: standard error of the choice over draws of the validation images, in units of the objective.
        alone_best: share of the redrawn validation sets on which no other point does as well as the choice.
        whole_grid: number of points from which a budget drew those that were tried; None where all were tried.
    """

    kind: TuningKind
    selected_on: Literal["val"] | None = None
    grid_size: Annotated[int | None, {"minimum": 1}] = None
    seeds: list[int] | None = None
    tuning_id: str | None = None
    objective: Annotated[str | None, {"default": None}] = None
    validation: Annotated[str | None, {"default": None}] = None
    standard_error: Annotated[float | None, {"default": None, "minimum": 0}] = None
    alone_best: Annotated[float | None, {"default": None, "minimum": 0, "maximum": 1}] = None
    whole_grid: Annotated[int | None, {"default": None, "minimum": 1}] = None


def whole_validation(said: str) -> str:
    """A tuning's text on its validation images, without numbers where they were all images of a cache: earlier files have no numbers, or lack the word `all`."""
    return re.sub(r"^(all )?([\d,]+ )?validation images(, [\d,]+( to [\d,]+)? a class)?", "all validation images", said)


@dataclass(frozen=True)
class SeedInfo:
    """The seeds by axis; `varies` says what an interval over repetitions covers, None where nothing is trained."""

    repetition: Natural
    init: int
    order: int
    varies: str | None


@dataclass(frozen=True)
class TrainingInfo:
    """The length of the fit and its course (`history`: one {"epoch", "loss", "lr"} an epoch).

    `health` has the signs that the fit went wrong (`results.health`), each with its figure; empty for a healthy fit, None where nothing judged it.
    """

    epochs: Natural
    steps: Natural
    batch_size: Annotated[int | None, {"minimum": 1}]
    trained_parameters: Natural
    final_loss: float | None
    history: list[Annotated[dict[str, Number], {"required": ["epoch"]}]]
    health: Annotated[dict[str, Figure] | None, {"default": None}] = None


@dataclass(frozen=True)
class TimeInfo:
    """Seconds, and when the run ended (ISO 8601, UTC)."""

    fit_s: Seconds
    evaluate_s: Seconds
    finished: Annotated[str, {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$"}]


class Environment(TypedDict):
    """Machine and versions of a run (`core.environment`): the fields that every record has; it may have more."""

    lt_bench: Text
    commit: str | None
    dirty: bool | None
    python: Text
    torch: str | None
    lightning: str | None
    torchmetrics: str | None
    numpy: Text
    platform: Text
    cpu: Text
    device: Text
    devices: Positive
    threads: Positive
    deterministic: bool


@dataclass(frozen=True)
class RunRecord:
    """One measured run. Accuracies are fractions; a metric that does not exist (an empty group) is NaN here and null in the file.

    `arrays` are the digests of the arrays beside the record (`results.seal`), by name; the store fills them in.
    """

    identity: Identity
    strategy: StrategyInfo
    dataset: DatasetInfo
    backbone: BackboneInfo
    cache: CacheInfo
    tuning: TuningInfo
    seeds: SeedInfo
    metrics: Annotated[
        dict[str, dict[str, Number]],
        {"required": ["test"], "properties": {"test": schema_of(dict[str, Number]) | {"required": ["accuracy"]}}},
    ]
    training: TrainingInfo
    time: TimeInfo
    environment: Annotated[dict[str, Any], schema_of(Environment)]
    command: Text
    arrays: dict[str, Digest] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """16 hex digits: the hash of `identity`."""
        return record_id(dataclasses.asdict(self.identity))

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values with its seal, checked.

        Raises:
            UserError: a field is of the wrong type or two fields contradict each other; it names the field.
        """
        fields = _without_nan(dataclasses.asdict(self))
        if self.training.health is None:  # a record of a time before stays as it was
            del fields["training"]["health"]
        if not self.cache.shared:
            del fields["cache"]["shared"]
        data = sealed({"schema": SCHEMA_VERSION, "id": self.id} | fields)
        check(data, f"the record of {self.identity.strategy} on {self.dataset.name}, seed {self.identity.seed}")
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: Path | str = "the record") -> RunRecord:
        """Build and check a record; `where` (the file) opens every error message.

        Raises:
            UserError: not a valid record: it names the file and the field; or altered after it was written.
        """
        check(data, where)
        check_seal(data, where, AGAIN)
        parts = {field.name: data[field.name] for field in dataclasses.fields(cls)}
        for name, kind in _PARTS.items():
            parts[name] = kind(**parts[name])
        parts["metrics"] = {
            view: {name: math.nan if value is None else value for name, value in values.items()} for view, values in data["metrics"].items()
        }
        return cls(**parts)


_PARTS: dict[str, type] = {
    name: kind for name, kind in get_type_hints(RunRecord).items() if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}


def _without_nan(value: Any) -> Any:
    """NaN and infinity become None: JSON has neither."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON schema of a record's file."""
    fields = schema_of(RunRecord)
    first = {"schema": {"const": SCHEMA_VERSION}, "id": {"type": "string", "pattern": "^[0-9a-f]{16}$"}}
    last = {SEAL: schema_of(Digest)}
    return fields | {"required": [*first, *fields["required"], SEAL], "properties": first | fields["properties"] | last}


@functools.cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # 0.1 s of imports that a table does not need

    return Draft202012Validator(schema())


def check(data: Mapping[str, Any], where: Path | str) -> None:
    """Check JSON values against the schema and the fields against each other.

    Raises:
        UserError: names `where` and the field that is wrong.
    """
    check_version(data, SCHEMA_VERSION, where, "a record", AGAIN)
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(data))
    if error is not None:
        field = ".".join(str(part) for part in error.absolute_path) or "the top level"
        raise UserError(f"{where}: {field}: {error.message[:300]}; records are written by `lt-bench run`, not by hand")
    for field, value, wanted in _contradictions(data):
        raise UserError(
            f"{where}: {field} is {value!r} but the rest of the record says {wanted!r}; the file was changed after it was written"
        )


def _contradictions(data: Mapping[str, Any]) -> list[tuple[str, object, object]]:
    identity, dataset = data["identity"], data["dataset"]
    pairs = [
        ("id", data["id"], record_id(identity)),
        ("strategy.name", data["strategy"]["name"], identity["strategy"]),
        ("cache.key", data["cache"]["key"], identity["cache_key"]),
        ("tuning.kind", data["tuning"]["kind"], identity["tuning"]),
        ("dataset.class_names: its length", len(dataset["class_names"]), dataset["num_classes"]),
        ("dataset.train_counts: its length", len(dataset["train_counts"]), dataset["num_classes"]),
    ]
    return [pair for pair in pairs if pair[1] != pair[2]]
