"""The run record: everything that is known about one measured run, in one small JSON file that is written once (but for `tuning`, see `results.store`).

`record.schema.json` beside this file states the same in JSON Schema (2020-12); it is what `RunRecord.from_json` checks against.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from lt_bench.core.errors import UserError
from lt_bench.core.identity import record_id

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

SCHEMA_VERSION = 1

PASSED = "passed"
"""What a record says of a strategy of the user's own that passed the quick checks of the contract."""
MATMUL = "matmul"
"""The entry beside hyper-parameters that says that products of the fit were less exact."""
Protocol = Literal["clean", "images-eval", "images-train"]
Mode = Literal["head", "end-to-end"]
TuningKind = Literal["official", "tuned", "inferred", "author-tuned", "user"]


@dataclass(frozen=True)
class Identity:
    """What the record's id is the hash of: two runs that share it are the same run."""

    strategy: str
    hyperparameters: dict[str, Any]
    cache_key: str
    protocol: Protocol
    mode: Mode
    tuning: TuningKind
    seed: int


@dataclass(frozen=True)
class StrategyInfo:
    """The strategy's own description.

    Attributes:
        trains: "nothing" or what is trained.
        inferred: some default is not stated by paper or official code.
        contract: of a strategy of the user's own: "passed", or what the quick checks of `lt-bench check` said; None for one of the suite's.
    """

    name: str
    family: str
    paper: str
    sampler: str
    trains: str
    class_path: str
    inferred: bool
    contract: str | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """The split: its content hash, its K classes and their training counts."""

    name: str
    imbalance_factor: float | None
    selection: str | None
    split_hash: str
    num_classes: int
    class_names: list[str]
    train_counts: list[int]
    n_train: int
    n_val: int
    n_test: int
    val_seen_by_backbone: bool


@dataclass(frozen=True)
class BackboneInfo:
    """The frozen encoder: name, hash of its weights, feature dimension D and how stage 1 was trained."""

    name: str
    weights_hash: str | None
    dim: int
    stage1: str | None


@dataclass(frozen=True)
class CacheInfo:
    """The feature cache that was read."""

    key: str
    name: str
    dtype: str
    views: list[str]


@dataclass(frozen=True)
class TuningInfo:
    """Where the hyper-parameters come from, and what chose them."""

    kind: TuningKind
    selected_on: Literal["val"] | None = None
    grid_size: int | None = None
    seeds: list[int] | None = None
    tuning_id: str | None = None


@dataclass(frozen=True)
class SeedInfo:
    """The seeds by axis; `varies` says what an interval over repetitions covers, None where nothing is trained."""

    repetition: int
    init: int
    order: int
    varies: str | None


@dataclass(frozen=True)
class TrainingInfo:
    """The length of the fit and its course (`history`: one {"epoch", "loss", "lr"} an epoch)."""

    epochs: int
    steps: int
    batch_size: int | None
    trained_parameters: int
    final_loss: float | None
    history: list[dict[str, float]]


@dataclass(frozen=True)
class TimeInfo:
    """Seconds, and when the run ended (ISO 8601, UTC)."""

    fit_s: float
    evaluate_s: float
    finished: str


@dataclass(frozen=True)
class RunRecord:
    """One measured run. Accuracies are fractions; a metric that does not exist (an empty group) is NaN here and null in the file."""

    identity: Identity
    strategy: StrategyInfo
    dataset: DatasetInfo
    backbone: BackboneInfo
    cache: CacheInfo
    tuning: TuningInfo
    seeds: SeedInfo
    metrics: dict[str, dict[str, float]]
    training: TrainingInfo
    time: TimeInfo
    environment: dict[str, Any]
    command: str

    @property
    def id(self) -> str:
        """16 hex digits: the hash of `identity`."""
        return record_id(dataclasses.asdict(self.identity))

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, checked.

        Raises:
            UserError: a field is of the wrong type or two fields contradict each other; it names the field.
        """
        data = {"schema": SCHEMA_VERSION, "id": self.id} | _without_nan(dataclasses.asdict(self))
        check(data, f"the record of {self.identity.strategy} on {self.dataset.name}, seed {self.identity.seed}")
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "the record") -> RunRecord:
        """Build and check a record; `where` (the file) opens every error message.

        Raises:
            UserError: not a valid record: it names the file and the field.
        """
        check(data, where)
        parts = {field.name: data[field.name] for field in dataclasses.fields(cls)}
        for name, kind in _PARTS.items():
            parts[name] = kind(**parts[name])
        parts["metrics"] = {
            view: {name: math.nan if value is None else value for name, value in values.items()} for view, values in data["metrics"].items()
        }
        return cls(**parts)


_PARTS: dict[str, type] = {
    "identity": Identity,
    "strategy": StrategyInfo,
    "dataset": DatasetInfo,
    "backbone": BackboneInfo,
    "cache": CacheInfo,
    "tuning": TuningInfo,
    "seeds": SeedInfo,
    "training": TrainingInfo,
    "time": TimeInfo,
}


def _without_nan(value: Any) -> Any:
    """NaN becomes None: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON schema of a record, as shipped."""
    return json.loads(resources.files("lt_bench.results").joinpath("record.schema.json").read_text(encoding="utf-8"))


@functools.cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # 0.1 s of imports that a table does not need

    return Draft202012Validator(schema())


def check(data: Mapping[str, Any], where: str) -> None:
    """Check JSON values against the schema and the fields against each other.

    Raises:
        UserError: names `where` and the field that is wrong.
    """
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
