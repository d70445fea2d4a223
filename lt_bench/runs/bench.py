"""``lt-bench bench``: a suite of strategies x caches x seeds; resumable, and one failing run does not end it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lt_bench.engine.fit import Hardware
from lt_bench.errors import UserError
from lt_bench.features.cache import FeatureCache
from lt_bench.features.locate import shipped
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store
from lt_bench.runs.heads import Bench, execute, first_process, leave_processes
from lt_bench.runs.loggers import log_records
from lt_bench.runs.options import BenchOptions, CacheOptions
from lt_bench.runs.planning import Planned, plan, tuned_choice
from lt_bench.runs.which_cache import resolve_cache
from lt_bench.strategies.registry import Entry, find, strategy_names, suggestion


@dataclass
class Suite:
    """What a suite file says.

    Attributes:
        strategies: names, or mappings with ``name`` and hyper-parameters; or ``all``.
        caches: the options that find a cache, each.
        seeds: repetitions.
        hyperparameters: whether each strategy runs with its official ones, with those tuned on validation, or both.
        analysis: also record classifier norm, feature norm and cosine per class over the epochs.
        description: in words.
    """

    strategies: Literal["all"] | list[str | dict[str, Any]]
    caches: list[CacheOptions]
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    hyperparameters: list[Literal["official", "tuned"]] = field(default_factory=lambda: ["official"])
    analysis: bool = False
    description: str = ""


SUITE_FIELDS = tuple(one.name for one in fields(Suite))


def bench(options: BenchOptions) -> None:
    """Run what the suite asks for and is not recorded yet.

    Raises:
        UserError: the suite cannot be read; or, at the end, runs failed: each is named.
    """
    if not options.suite:
        raise UserError("bench needs a suite: a YAML file, or the name of a shipped one")
    suite = read_suite(suite_path(options.suite))
    store, records, failures = Store(options.results), [], []
    for cache in suite_caches(suite):
        planned, missing = suite_plan(suite, cache, options.results)
        failures += missing
        failures += _execute(Bench(cache, Hardware(options.accelerator, options.devices)), planned, store, records, suite.analysis)
    if first_process():
        log_records(records, store, options.wandb, options.wandb_project)
        Console().print(f"{len(records)} records of {options.suite} in {options.results}", soft_wrap=True)
    leave_processes()
    if failures:
        raise UserError(f"{len(failures)} of the suite failed and are not recorded: " + "; ".join(failures))


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
    if not isinstance(document, dict) or "strategies" not in document or "caches" not in document:
        raise UserError(f"{path}: a suite needs `strategies` and `caches`")
    for key in document:
        if key not in SUITE_FIELDS:
            raise UserError(f"{path}: a suite has no field {key!r}{suggestion(str(key), SUITE_FIELDS)}; it has {', '.join(SUITE_FIELDS)}")
    if not isinstance(document["caches"], list) or not all(isinstance(item, dict) for item in document["caches"]):
        raise UserError(f"{path}: caches: expected a list of mappings such as {{dataset: cifar100_lt}} or {{cache: NAME}}")
    for item in document["strategies"] if isinstance(document["strategies"], list) else []:
        if not isinstance(item, str) and not (isinstance(item, dict) and isinstance(item.get("name"), str)):
            raise UserError(f"{path}: strategies: {item!r} is neither a name nor a mapping with a `name`")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Suite, fail_untyped=False)
    return Suite(**parser.instantiate(_parsed(parser, document, str(path))).as_dict())


def suite_caches(suite: Suite) -> list[FeatureCache]:
    """The caches of a suite, opened."""
    return [resolve_cache(options) for options in suite.caches]


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
        for kind in suite.hyperparameters:
            tuning = None
            chosen = given
            if kind == "tuned":
                if given or not entry.grid:
                    continue
                choice = tuned_choice(entry, cache.manifest, results)
                if choice is None:
                    missing.append(
                        f"{entry.public_name}: not tuned on {cache.manifest.name}; run `lt-bench tune --strategy {entry.public_name} --cache {cache.manifest.name}`"
                    )
                    continue
                chosen, tuning = choice
            for run in plan(entry, cache.manifest, chosen, suite.seeds, tuning):
                planned.setdefault(run.id, run)
    return list(planned.values()), missing


def _execute(bench: Bench, planned: list[Planned], store: Store, records: list[RunRecord], analysis: bool) -> list[str]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not (first_process() and console.is_terminal), transient=True) as progress:
        task = progress.add_task(bench.cache.manifest.name, total=len(planned))

        def done(record: RunRecord) -> None:
            records.append(record)
            progress.update(task, advance=1)

        return execute(bench, planned, store, done, analysis=analysis)
