"""Differences of two records: data, choices, code, versions, hardware. Free of torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lt_bench.results.record import RunRecord

VERSIONS = ("lt_bench", "commit", "dirty", "python", "torch", "lightning", "torchmetrics", "numpy")
"""Fields of the environment that describe the software; the others describe the hardware."""
KINDS = ("data", "choices", "code", "versions", "hardware")
Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Differences:
    """Differences of two records.

    Attributes:
        fields: by kind, the fields that differ with both values; a kind without differences is empty.
        metrics: both values of every metric, by ``view/name``; None where a record does not have it.
    """

    fields: dict[str, dict[str, Pair]]
    metrics: dict[str, Pair]

    @property
    def kinds(self) -> list[str]:
        """The ``KINDS`` in which the two records differ."""
        return [kind for kind in KINDS if self.fields[kind]]

    @property
    def metrics_that_differ(self) -> dict[str, Pair]:
        """The ``metrics`` whose values differ: the largest difference relative to its value first, and last those that only one record has."""
        different = {name: pair for name, pair in self.metrics.items() if pair[0] != pair[1]}
        return dict(sorted(different.items(), key=lambda item: -_relative(*item[1])))


def differences(one: RunRecord, other: RunRecord) -> Differences:
    """Compare two records, which may be of any strategies and data sets."""
    facts = [_facts(record) for record in (one, other)]
    fields = {kind: _differing(facts[0][kind], facts[1][kind]) for kind in KINDS}
    metrics = [_flat(record.metrics, separator="/") for record in (one, other)]
    names = dict.fromkeys([*metrics[0], *metrics[1]])
    return Differences(fields, {name: (_number(metrics[0].get(name)), _number(metrics[1].get(name))) for name in names})


def environments_differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, dict[str, Pair]]:
    """Fields of two environments that differ: ``versions`` and ``hardware``."""
    return {kind: _differing(_part(one, kind), _part(other, kind)) for kind in ("versions", "hardware")}


def _facts(record: RunRecord) -> dict[str, dict[str, Any]]:
    """The facts of a record by kind."""
    identity, environment = record.identity, record.environment
    files = {f"code of {name}": one for name, one in record.strategy.files.items()}
    choices = {name: getattr(identity, name) for name in ("strategy", "protocol", "mode", "tuning", "seed")}
    chosen_on = {f"tuning.{name}": value for name, value in dataclasses.asdict(record.tuning).items() if name != "kind"}
    data = {"dataset": record.dataset, "backbone": record.backbone, "cache": record.cache}
    return {
        "data": _flat({name: dataclasses.asdict(part) for name, part in data.items()}),
        "choices": choices | {"class": record.strategy.class_path} | _flat(identity.hyperparameters) | chosen_on,
        "code": {"code": identity.code} | files,
        "versions": _part(environment, "versions"),
        "hardware": _part(environment, "hardware"),
    }


def _part(environment: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {name: value for name, value in environment.items() if (name in VERSIONS) == (kind == "versions")}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Pair]:
    names = dict.fromkeys([*one, *other])
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def _flat(values: Mapping[str, Any], separator: str = ".", prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, separator, f"{prefix}{name}{separator}") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _relative(one: float | None, other: float | None) -> float:
    """Difference of two values, of which one is not 0, relative to the larger; -1 where one is missing."""
    return -1.0 if one is None or other is None else abs(one - other) / max(abs(one), abs(other))
