"""``lt-bench bench``: a suite of strategies x caches x seeds; resumable, and one failing run does not end it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
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
from lt_bench.strategies.registry import find, strategy_names, suggestion

SUITE_FIELDS = ("caches", "strategies", "seeds", "hyperparameters", "description")


def bench(options: BenchOptions) -> None:
    """Run what the suite asks for and is not recorded yet.

    Raises:
        UserError: the suite cannot be read; or, at the end, runs failed: each is named.
    """
    suite = read_suite(suite_path(options.suite))
    store, records, failures = Store(options.results), [], []
    for cache in suite_caches(suite):
        planned, missing = suite_plan(suite, cache, options.results)
        failures += missing
        failures += _execute(Bench(cache, Hardware(options.accelerator, options.devices)), planned, store, records)
    if first_process():
        log_records(records, store, options.wandb, options.wandb_project)
        Console().print(f"{len(records)} records of {options.suite} in {options.results}")
    leave_processes()
    if failures:
        raise UserError(f"{len(failures)} of the suite failed and are not recorded:\n  " + "\n  ".join(failures))


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


def read_suite(path: Path) -> dict[str, Any]:
    """The suite as a mapping, checked.

    A suite has ``strategies`` (names, or mappings with ``name`` and hyper-parameters; ``all``), ``caches`` (mappings of the options of a cache), ``seeds``,
    ``hyperparameters`` (``official``, ``tuned``), ``description``.

    Raises:
        UserError: not YAML, or a field that a suite does not have.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(document, dict) or "strategies" not in document or "caches" not in document:
        raise UserError(f"{path}: a suite needs `strategies` and `caches`")
    for field in document:
        if field not in SUITE_FIELDS:
            raise UserError(f"{path}: a suite has no field {field!r}{suggestion(field, SUITE_FIELDS)}; it has {', '.join(SUITE_FIELDS)}")
    for kind in document.get("hyperparameters", []):
        if kind not in ("official", "tuned"):
            raise UserError(f"{path}: hyperparameters are `official` or `tuned`, not {kind!r}")
    return document


def suite_caches(suite: dict[str, Any]) -> list[FeatureCache]:
    """The caches of a suite, opened."""
    return [resolve_cache(CacheOptions(**options)) for options in suite["caches"]]


def suite_plan(suite: dict[str, Any], cache: FeatureCache, results: Path) -> tuple[list[Planned], list[str]]:
    """Runs of the suite on one cache, and a line for each strategy that should run tuned and was not tuned."""
    planned: dict[str, Planned] = {}
    missing = []
    strategies = list(strategy_names()) if suite["strategies"] == "all" else suite["strategies"]
    for item in strategies:
        given = dict(item) if isinstance(item, dict) else {"name": item}
        entry = find(given.pop("name"))
        for kind in suite.get("hyperparameters", ["official"]):
            tuning = None
            chosen = given
            if kind == "tuned":
                if given or not entry.grid:
                    continue
                choice = tuned_choice(entry, cache.manifest, results)
                if choice is None:
                    missing.append(
                        f"{entry.name}: not tuned on {cache.manifest.name}; run `lt-bench tune --strategy {entry.name} --cache {cache.manifest.name}`"
                    )
                    continue
                chosen, tuning = choice
            for run in plan(entry, cache.manifest, chosen, suite.get("seeds", [0, 1, 2]), tuning):
                planned.setdefault(run.id, run)
    return list(planned.values()), missing


def _execute(bench: Bench, planned: list[Planned], store: Store, records: list[RunRecord]) -> list[str]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not first_process(), transient=True) as progress:
        task = progress.add_task(bench.cache.manifest.name, total=len(planned))

        def done(record: RunRecord) -> None:
            records.append(record)
            progress.update(task, advance=1)

        return execute(bench, planned, store, done)
