"""``lt-bench verify``: run a record again, and compare."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rich.console import Console
from torch import nn

from lt_bench.engine.fit import Hardware
from lt_bench.errors import UserError
from lt_bench.features.cache import FeatureCache, open_cache
from lt_bench.features.locate import find_cache, known_caches
from lt_bench.results.record import RunRecord
from lt_bench.results.store import read_record
from lt_bench.runs.heads import Bench, record_head
from lt_bench.runs.options import VerifyOptions
from lt_bench.runs.planning import Planned, Tuning
from lt_bench.strategies.registry import find


def verify(options: VerifyOptions) -> None:
    """Fit a record's head again from its own hyper-parameters and seed on the same cache, and compare every metric.

    Raises:
        UserError: the cache is not here; or a metric differs by more than the tolerance.
    """
    if not options.record.is_file():
        raise UserError(f"{options.record}: no such file; verify needs the JSON file of a record")
    record = read_record(options.record)
    repeated = refit(record, cache_of(record, options.cache)).record
    if repeated.id != record.id:
        raise UserError(
            f"{options.record}: this version of {record.identity.strategy} has other hyper-parameters, so the run cannot be repeated; use the record's commit"
        )
    differences = compare(record, repeated)
    worst = max(differences, key=lambda name: differences[name])
    Console().print(
        f"{len(differences)} metrics compared; largest difference {differences[worst]:.2g} ({worst}), tolerance {options.tolerance:g}"
    )
    if not differences[worst] <= options.tolerance:
        raise UserError(f"{options.record}: does not repeat: {worst} differs by {differences[worst]:.3g}, more than {options.tolerance:g}")


@dataclass(frozen=True)
class Refitted:
    """The record that the same run gives now, and its head."""

    record: RunRecord
    head: nn.Module


def refit(record: RunRecord, cache: FeatureCache) -> Refitted:
    """Fit the head of a record again, from its own hyper-parameters and seed."""
    entry, identity = find(record.identity.strategy), record.identity
    dataset = cache.manifest.dataset
    hyperparameters = entry.resolve(dataset.name, dataset.imbalance_factor, identity.hyperparameters)
    run = Planned(entry, hyperparameters, identity.seed, Tuning(record.tuning.kind), cache.manifest)
    on_cpu = record.environment.get("device", "cpu") == "cpu"
    bench = Bench(cache, Hardware("cpu" if on_cpu else "auto", 1))
    runs, fitted = next(iter(bench.fitted([run])))
    again, _ = record_head(bench, runs[0], fitted, 0)
    return Refitted(again, fitted.strategy.inference_head(0))


def compare(before: RunRecord, after: RunRecord) -> dict[str, float]:
    """Absolute difference of every metric by ``view/name``; a metric that is NaN in one record only differs infinitely."""
    differences = {}
    for view, metrics in before.metrics.items():
        for name, value in metrics.items():
            other = after.metrics.get(view, {}).get(name, math.nan)
            both_missing = math.isnan(value) and math.isnan(other)
            difference = 0.0 if both_missing else abs(value - other)
            differences[f"{view}/{name}"] = math.inf if math.isnan(difference) else difference
    return differences


def cache_of(record: RunRecord, named: str | None) -> FeatureCache:
    """The cache that a record was measured on: the one named, or among the known ones.

    Raises:
        UserError: it is not here, or the named one is another.
    """
    key = record.identity.cache_key
    if named is None:
        found = [path for path, manifest in known_caches() if manifest.key == key]
        if not found:
            raise UserError(f"the record's cache {record.cache.name} (key {key}) is not among the known ones; name it with --cache")
        return open_cache(found[0])
    cache = open_cache(find_cache(named))
    if cache.key != key:
        raise UserError(f"{cache.path}: key {cache.key}, and the record was measured on {key}; name the right cache with --cache")
    return cache
