"""``lt-bench bench``: a suite of strategies x caches x seeds; resumable, and one failing run does not end it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from rich.console import Console

from lt_bench.bench.execute import Bench, unrecorded
from lt_bench.bench.loggers import log_records
from lt_bench.bench.options import BenchOptions, CacheOptions
from lt_bench.bench.planning import CLEAN, Planned, Setting, plan, tuned_choice
from lt_bench.bench.requirements import check_workers
from lt_bench.bench.sources.find_cache import resolve_cache
from lt_bench.bench.suite.sharing import workers_for
from lt_bench.bench.suite.units import Display, fit_units, units_of
from lt_bench.core.errors import UserError
from lt_bench.core.launchers import is_first_process
from lt_bench.core.processes import join_process_group, leave_process_group
from lt_bench.engine.arithmetic import Matmul
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import FeatureCache
from lt_bench.features.locate import shipped
from lt_bench.results.store import Store
from lt_bench.strategies.registry import Entry, find, strategy_names, suggestion


@dataclass
class Suite:
    """What a suite file says.

    Attributes:
        strategies: names, or mappings with ``name`` and hyper-parameters; or ``all``.
        caches: the options that find a cache, each.
        seeds: repetitions.
        hyperparameters: whether each strategy runs with its official ones, with those tuned on validation, or both; where nothing is to be tuned, or
            hyper-parameters are given, it is those once.
        analysis: also record classifier norm, feature norm and cosine per class over the epochs.
        matmul: how exact float32 products are while heads are fitted.
        description: in words.
    """

    strategies: Literal["all"] | list[str | dict[str, Any]]
    caches: list[CacheOptions]
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    hyperparameters: list[Literal["official", "tuned"]] = field(default_factory=lambda: ["official"])
    analysis: bool = False
    matmul: Matmul = "highest"
    description: str = ""


SUITE_FIELDS = tuple(one.name for one in fields(Suite))


def bench(options: BenchOptions, *, auto_workers: bool = False) -> None:
    """Run what the suite asks for and is not recorded yet.

    Args:
        options: of the command.
        auto_workers: take as many workers as ``workers_for`` finds, where the options name no number. They import the main module anew, which not every
            script or notebook can stand; without, it is one.

    Raises:
        UserError: the suite cannot be read; or, at the end, runs failed: each is named.
    """
    if not options.suite:
        raise UserError("bench needs a suite: a YAML file, or the name of a shipped one")
    if options.slurm_options and not options.slurm:
        raise UserError("--slurm-options are for --slurm PARTITION; name one, or leave them out")
    suite = read_suite(suite_path(options.suite))
    hardware = Hardware("auto" if options.slurm else options.accelerator, options.devices)
    check_workers(options.workers, hardware.layout.world, options.slurm)
    store = Store(options.results)
    join_process_group(hardware.layout, hardware.device)
    caches, absent = suite_caches(suite)
    benches = [Bench(cache, hardware) for cache in caches]
    plans = [suite_plan(suite, one.cache, options.results) for one in benches]
    failures = [line for _, untuned in plans for line in untuned]
    display, units = Display(), []
    for one, (planned, _) in zip(benches, plans, strict=True):
        missing = unrecorded(one, planned, store, lambda record: None, analysis=suite.analysis)
        display.expects(one, len(planned), len(planned) - len(missing))
        units += units_of(one, missing, options, suite.analysis)
    with display.progress:
        workers = options.workers or (workers_for(hardware, [unit.work for unit in units]) if auto_workers else 1)
        failures += fit_units(units, workers, options, display)
    if is_first_process():
        records = [store.load(run.id) for planned, _ in plans for run in planned if store.has(run.id)]
        log_records(records, store, options.wandb, options.wandb_project)
        workers = min(workers, len(units))
        by = f"; {sum(len(unit.runs) for unit in units)} runs were shared by {workers} workers" if workers > 1 and not options.slurm else ""
        Console().print(f"{len(records)} records of {options.suite} in {options.results}{by}", soft_wrap=True)
    leave_process_group()
    for name, why in absent.items():
        print(f"not here: {name}: {why}", file=sys.stderr)  # noqa: T201
    if failures:
        raise UserError(f"{len(failures)} of the suite failed and are not recorded: " + "; ".join(failures))
    if absent:
        raise UserError(
            f"{options.suite} is incomplete: {len(absent)} of its {len(suite.caches)} caches are not here ({', '.join(absent)}); "
            "get what the lines above name, and the same command goes on from there"
        )


def suite_path(name: str) -> Path:
    """A suite file, or a shipped suite by name.

    Raises:
        UserError: there is none; lists the shipped ones.
    """
    names = {path.stem: path for path in sorted(shipped("suites").glob("*.yaml"))}
    if Path(name).is_file():
        return Path(name)
    if name in names:
        return names[name]
    raise UserError(f"no suite {name!r}: no such file, and the shipped ones are {', '.join(names) or 'none'}{suggestion(name, names)}")


def read_suite(path: Path) -> Suite:
    """The suite in a YAML file, checked.

    Raises:
        UserError: not YAML, or a field that a suite does not have or of the wrong type.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
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
    return Suite(**parser.instantiate(_parsed(parser, document, str(path))).as_dict())


def suite_caches(suite: Suite) -> tuple[list[FeatureCache], dict[str, str]]:
    """The caches of a suite, opened, and extracted first where the images are here; and why others cannot be had, by their names."""
    caches: list[FeatureCache] = []
    absent: dict[str, str] = {}
    for options in suite.caches:
        try:
            caches.append(resolve_cache(options))
        except UserError as error:
            factor = "" if options.imbalance_factor is None else f"IF {options.imbalance_factor:g}"
            absent[" ".join(filter(None, (options.cache, options.dataset, factor, options.backbone)))] = str(error)
    return caches, absent


def typed(entry: Entry, given: dict[str, Any], where: str) -> dict[str, Any]:
    """Hyper-parameters from YAML as the strategy's types.

    Raises:
        UserError: a name that the strategy does not have, or a value that does not fit.
    """
    entry.resolve("", None, given)
    parser = ArgumentParser(exit_on_error=False)
    for name, kind in entry.types().items():
        parser.add_argument(f"--{name}", type=kind)
    return _parsed(parser, given, f"{where}: {entry.name}").as_dict()


def _parsed(parser: ArgumentParser, document: dict[str, Any], where: str) -> Namespace:
    try:
        return parser.parse_object(document, defaults=False)
    except ArgumentError as error:
        message = " ".join(str(error).replace("Parser key ", "").replace("<class '", "").replace("'>", "").split())
        raise UserError(f"{where}: {message}") from None


def suite_plan(suite: Suite, cache: FeatureCache, results: Path) -> tuple[list[Planned], list[str]]:
    """Runs of the suite on one cache, and a line for each strategy that should run tuned and was not tuned."""
    planned: dict[str, Planned] = {}
    missing = []
    strategies = list(strategy_names()) if suite.strategies == "all" else suite.strategies
    for item in strategies:
        given = dict(item) if isinstance(item, dict) else {"name": item}
        entry = find(given.pop("name"))
        given = typed(entry, given, "suite")
        setting = Setting(matmul=suite.matmul) if entry.fitting == "sgd" else CLEAN  # others multiply nothing in float32
        for kind in suite.hyperparameters:
            tuning = None
            chosen = given
            if kind == "tuned" and entry.grid and not given:
                choice = tuned_choice(entry, cache.manifest, results)
                if choice is None:
                    missing.append(
                        f"{entry.public_name}: not tuned on {cache.manifest.name}; run `lt-bench tune --strategy {entry.public_name} --cache {cache.manifest.name}`"
                    )
                    continue
                chosen, tuning = choice
            for run in plan(entry, cache.manifest, chosen, suite.seeds, tuning, setting):
                planned.setdefault(run.id, run)
    return list(planned.values()), missing
