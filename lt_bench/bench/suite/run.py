"""A suite of strategies x caches x seeds: resumable, and one failing run does not end it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from lt_bench.bench.changed_code import changed_code
from lt_bench.bench.execute import unrecorded
from lt_bench.bench.hyperparameters import parsed, typed
from lt_bench.bench.options import CacheOptions
from lt_bench.bench.planning import CLEAN, Planned, Setting, plan
from lt_bench.bench.slurm import Jobs
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.sources.find_cache import resolve_cache
from lt_bench.bench.suite.sharing import workers_for
from lt_bench.bench.suite.units import Fitter, Unit, Watcher, fit_units, units_of
from lt_bench.bench.tuned import tune_command, tuned_choice
from lt_bench.core.documents import parse_yaml
from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.launchers import is_first_process
from lt_bench.core.names import suggestion
from lt_bench.engine.arithmetic import Matmul
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import FeatureCache
from lt_bench.features.locate import known_as
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store
from lt_bench.strategies.registry import find, strategy_names


@dataclass
class Suite:
    """Contents of a suite file.

    Attributes:
        strategies: names, or mappings with ``name``, hyper-parameters and ``axes``, lists of values by hyper-parameter of which every combination is run;
            or ``all``.
        caches: options that find each cache.
        seeds: repetitions.
        hyperparameters: whether each strategy runs with its own (the official ones where there are any), with those tuned on validation, or both; where nothing is to be tuned, or
            hyper-parameters are given, it is those once.
        analysis: also record classifier norm, feature norm and cosine per class over the epochs.
        matmul: precision of float32 products while heads are fitted.
        description: free text.
    """

    strategies: Literal["all"] | list[str | dict[str, Any]]
    caches: list[CacheOptions]
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    hyperparameters: list[Literal["own", "tuned"]] = field(default_factory=lambda: ["own"])
    analysis: bool = False
    matmul: Matmul = "highest"
    description: str = ""


SUITE_FIELDS = tuple(one.name for one in fields(Suite))


@dataclass(frozen=True)
class SuiteOutcome:
    """Outcome of a suite.

    Attributes:
        records: all records that the suite asks for and that exist.
        failures: a line for every run that failed, and for every strategy that should run tuned and was not tuned.
        absent: reason why a cache is unavailable, by its name.
        fitted: runs that were not recorded before.
        workers: processes that shared these runs.
        remarks: a line for every strategy whose code changed since records of it were made.
    """

    records: list[RunRecord]
    failures: list[str]
    absent: dict[str, str]
    fitted: int
    workers: int
    remarks: Sequence[str] = ()


def run_suite(
    suite: Suite,
    store: Store,
    hardware: Hardware,
    *,
    workers: int | None = 1,
    slurm: Jobs | None = None,
    watcher: Watcher | None = None,
) -> SuiteOutcome:
    """Fit and record what a suite asks for and is not recorded yet.

    Args:
        suite: what is asked for.
        store: of the records, and beside them what was tuned.
        hardware: of the fits.
        workers: processes that share the runs, None for as many as pay (``workers_for``). They import the main module anew, which not every script or
            notebook can stand.
        slurm: settings of jobs, to submit the runs to SLURM instead.
        watcher: receives the progress.
    """
    watcher = watcher or Watcher()
    caches, absent = suite_caches(suite)
    benches = [CacheSource(cache, hardware) for cache in caches]
    plans = [suite_plan(suite, one.cache, store.directory) for one in benches]
    failures = [line for _, untuned in plans for line in untuned]
    units: list[Unit] = []
    remarks: list[str] = []
    before: list[RunRecord] = []
    for one, (planned, _) in zip(benches, plans, strict=True):
        missing = unrecorded(one, planned, store, before.append, analysis=suite.analysis)
        watcher.expects(one, len(planned), len(planned) - len(missing))
        remarks += changed_code(missing, store)
        units += units_of(one, missing, None if slurm is None else slurm.accelerator)
    with watcher:
        workers = workers or workers_for(hardware, [unit.work for unit in units])
        failures += fit_units(units, workers, Fitter(store.directory, suite.analysis), watcher, slurm)
    records = _records([run.id for planned, _ in plans for run in planned], before, store) if is_first_process() else []
    failures = list(dict.fromkeys(failures))  # seeds that are fitted one by one fail alike
    return SuiteOutcome(
        records, failures, absent, sum(len(unit.runs) for unit in units), min(workers, len(units)), list(dict.fromkeys(remarks))
    )


def _records(ids: Sequence[str], before: Sequence[RunRecord], store: Store) -> list[RunRecord]:
    """The records of a suite, in its order; those that were read before are not read again."""
    read, there = {record.id: record for record in before}, store.recorded(ids)
    return [read.get(one) or store.load(one) for one in ids if one in read or one in there]


def read_suite(path: Path) -> Suite:
    """The suite in a YAML file, checked.

    Raises:
        UserError: not YAML, or a field that a suite does not have or of the wrong type.
    """
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise unreadable(path, error) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    for key in document if isinstance(document, dict) else ():
        if key not in SUITE_FIELDS:
            raise UserError(f"{path}: a suite has no field {key!r}{suggestion(str(key), SUITE_FIELDS)}; it has {', '.join(SUITE_FIELDS)}")
    if not isinstance(document, dict) or "strategies" not in document or "caches" not in document:
        raise UserError(f"{path}: a suite needs `strategies` and `caches`")
    if not isinstance(document["caches"], list) or not all(isinstance(item, dict) for item in document["caches"]):
        raise UserError(f"{path}: caches: expected a list of mappings such as {{dataset: cifar100_lt}} or {{cache: NAME}}")
    for item in document["strategies"] if isinstance(document["strategies"], list) else []:
        if not isinstance(item, str) and not (isinstance(item, dict) and isinstance(item.get("name"), str)):
            raise UserError(f"{path}: strategies: {item!r} is neither a name nor a mapping with a `name`")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Suite, fail_untyped=False)
    return Suite(**parser.instantiate(parsed(parser, document, str(path))).as_dict())


def combinations(item: str | dict[str, Any]) -> list[dict[str, Any]]:
    """The strategies that an item stands for, each with ``name`` and hyper-parameters: one, or one for every combination of values of its axes.

    Raises:
        UserError: axes that are no lists of values by hyper-parameter, or an axis whose hyper-parameter has a value beside it.
    """
    given = dict(item) if isinstance(item, dict) else {"name": item}
    axes = given.pop("axes", {})
    if not isinstance(axes, dict) or not all(isinstance(values, list) and values for values in axes.values()):
        raise UserError(
            f"suite: {given['name']}: axes: expected lists of values, e.g. {{target: [one_hot, smooth(0.98)], lr: [0.1, 0.01]}}"
        )
    if both := [name for name in axes if name in given]:
        raise UserError(f"suite: {given['name']}: {both[0]} is an axis and has the value {given[both[0]]!r} too; leave one of them out")
    return [given | dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def suite_caches(suite: Suite) -> tuple[list[FeatureCache], dict[str, str]]:
    """The caches of a suite, opened, or extracted where the images are here; and the reason why others are unavailable, by name."""
    caches: list[FeatureCache] = []
    absent: dict[str, str] = {}
    for options in suite.caches:
        try:
            caches.append(resolve_cache(options))
        except UserError as error:
            factor = "" if options.imbalance_factor is None else f"IF {options.imbalance_factor:g}"
            absent[" ".join(filter(None, (options.cache, options.dataset, factor, options.backbone)))] = str(error)
    return caches, absent


def suite_plan(suite: Suite, cache: FeatureCache, results: Path) -> tuple[list[Planned], list[str]]:
    """Runs of the suite on one cache, and a line for each strategy that should run tuned and was not tuned."""
    planned: dict[str, Planned] = {}
    missing = []
    name = known_as(cache.path, cache.manifest)
    strategies = list(strategy_names()) if suite.strategies == "all" else suite.strategies
    for given in (one for item in strategies for one in combinations(item)):
        entry = find(given.pop("name"))
        given = typed(entry, given, "suite")
        setting = Setting(matmul=suite.matmul if entry.takes_batches else CLEAN.matmul, cache=name)  # others multiply nothing in float32
        for kind in suite.hyperparameters:
            tuning = None
            chosen = given
            if kind == "tuned" and any(one.grid for one in entry.members or (entry,)) and not given:
                try:
                    choice = tuned_choice(entry, cache.manifest, results, name)
                except UserError as error:  # of other code, for example; the others go on
                    missing.append(str(error))
                    continue
                if choice is None:
                    missing.append(f"{entry.public_name}: not tuned on {cache.manifest.name}; run `{tune_command(entry, name, results)}`")
                    continue
                chosen, tuning = choice
            for run in plan(entry, cache.manifest, chosen, suite.seeds, tuning, setting):
                planned.setdefault(run.id, run)
    return list(planned.values()), missing
