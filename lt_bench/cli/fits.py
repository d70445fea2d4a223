"""``lt-bench run``, ``tune``, ``bench`` and ``verify``: from options to the functions of ``bench``, and the display of their results."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from lt_bench.bench.any_logger import require_logger
from lt_bench.bench.contract.check import check_strategy
from lt_bench.bench.execute import Callbacks
from lt_bench.bench.live_curves import LiveCurves
from lt_bench.bench.loggers import destination, log_records
from lt_bench.bench.options import BenchOptions, CheckOptions, RunOptions, TuneOptions, VerifyOptions
from lt_bench.bench.options.choices import Wandb, wandb_mode
from lt_bench.bench.requirements import check_workers, suite_path
from lt_bench.bench.run import RunOutcome, names_of, run, without_epochs
from lt_bench.bench.settled import share_text
from lt_bench.bench.slurm import Jobs
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.sources.find_cache import resolve_cache
from lt_bench.bench.suite.run import SuiteOutcome, read_suite, run_suite
from lt_bench.bench.tuned import earlier_tunings, has_diverged, objective_in, openness_of_choice, tuning_path, warnings_of_choice
from lt_bench.bench.tuning.shifts import SHIFT
from lt_bench.bench.tuning.tune import check_validation, tune, validation_entry, write_tuning
from lt_bench.bench.validation import Validation, error_text, validation_text
from lt_bench.bench.verify import check_repeats, verify
from lt_bench.bench.verify_submission import verify_submission
from lt_bench.cli.output import Output
from lt_bench.cli.progress import Display, FitProgress
from lt_bench.core.commands import with_results
from lt_bench.core.errors import UserError
from lt_bench.core.launchers import is_first_process
from lt_bench.core.names import counted
from lt_bench.core.processes import join_process_group, leave_process_group
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.shared import validation_shared
from lt_bench.leaderboard.objective.objective import explained, objective_of
from lt_bench.leaderboard.tables.terminal import run_table
from lt_bench.leaderboard.wandb.view import sync_command
from lt_bench.results.health import unhealthy, warnings_of
from lt_bench.results.record import RunRecord
from lt_bench.results.shared_images import shared_words
from lt_bench.results.statement import submission_of
from lt_bench.results.store import Store
from lt_bench.results.verified import VERIFIED
from lt_bench.strategies.registry import find

_SHOWN = 10
"""Points of a grid in the table of a tuning."""


def run_verb(options: RunOptions, output: Output) -> None:
    """Fit, record, show.

    Raises:
        UserError: as ``bench.run.run``; or, at the end, runs failed: each is named.
    """
    require_logger(options.logger)
    hardware = Hardware(options.accelerator, options.devices)
    join_process_group(hardware.layout, hardware.device)
    progress, store, mode = _progress(output), Store(options.results), wandb_mode(options.wandb, options.logger)
    with LiveCurves(None if mode == "off" else destination(mode, options.wandb_project, store), store.has) as live:
        outcome = run(options, lambda: [*progress(), *live.callbacks()])
        if is_first_process() and outcome.records:
            log_records(outcome.records, store, mode, options.wandb_project, options.logger, live.runs)
            _show_run(options, outcome, output)
            _show_sync(mode, outcome.records, store, output)
    outcome.checked()
    leave_process_group()


def _progress(output: Output) -> Callbacks:
    """Callbacks that show the epochs of a fit: one for all fits of a command."""
    callbacks = [] if output.quiet or not is_first_process() else [FitProgress()]
    return lambda: callbacks


def _show_run(options: RunOptions, outcome: RunOutcome, output: Output) -> None:
    store, records = Store(options.results), outcome.records
    entries = [find(name) for name in dict.fromkeys(record.identity.strategy for record in records)]
    if options.best_test_epoch and without_epochs(entries):
        print(f"lt-bench: there are no epochs in {names_of(without_epochs(entries))}, and so no best test epoch", file=sys.stderr)  # noqa: T201
    output.say(run_table([(record, store.arrays(record)) for record in records], output.console.width))
    for line in dict.fromkeys(_choice_line(record) for record in records if record.tuning.kind == "tuned"):
        output.say(line)
    for remark in [*outcome.remarks, *warnings_of(records)]:
        output.note(f"lt-bench: {remark}")
    if outcome.repeats:
        largest = max(outcome.repeats.values())
        output.say(
            f"{outcome.before} of {outcome.planned} were recorded in {options.results} before and fitted again; {len(outcome.repeats)} repeat, "
            f"the largest difference of a metric is {largest:.2g}, and the records stay"
        )
    elif outcome.before and not options.again:
        unused = f"; nothing was left for --devices {options.devices}" if outcome.before == outcome.planned and options.devices > 1 else ""
        output.say(
            f"{outcome.before} of {outcome.planned} were recorded in {options.results} before and not fitted again{unused}; --again fits them again and compares"
        )
    output.say(f"records: {', '.join(str(store.path(record)) for record in records)}")
    output.data([record.to_json() for record in records] if output.json else [])


def _choice_line(record: RunRecord) -> str:
    """A line that names the tuning of a record's hyper-parameters."""
    name, tuning = record.identity.strategy, record.tuning
    grid = find(name).grid
    values = ", ".join(f"{one}={value}" for one, value in record.identity.hyperparameters.items() if one in grid or not grid)
    images = f"{tuning.validation}{share_text(tuning.alone_best)}{error_text(tuning.standard_error, percent=tuning.objective != 'cost')}"
    points = f"{tuning.grid_size} points" if tuning.whole_grid is None else f"{tuning.grid_size} of {tuning.whole_grid} points"
    return f"{name}: tuning {tuning.tuning_id}, {points} on {images}: {values}"


def _show_sync(mode: Wandb, records: Sequence[RunRecord], store: Store, output: Output) -> None:
    """Say the command that sends offline runs."""
    if mode == "offline" and records:
        output.say(f"{len(records)} W&B runs offline; `{sync_command(store.directory)}` sends them")


def tune_verb(options: TuneOptions, output: Output) -> None:
    """Choose, write, show; hyper-parameters given on the command line are fixed and leave the grid.

    Raises:
        UserError: as ``bench.tuning.tune.tune``.
    """
    entry, hardware, fixed = find(options.strategy.name), Hardware(options.accelerator, options.devices), options.strategy.hyperparameters
    check_workers(options.workers, hardware.layout.world)
    join_process_group(hardware.layout, hardware.device)
    cache = resolve_cache(options)
    check_validation(cache)
    objective = objective_of(options.objective, cache.manifest.dataset.class_names, np.array(cache.manifest.dataset.train_counts))
    bench, validation = CacheSource(cache, hardware), Validation(options.val_size, options.val_profile, options.draws)
    counts = np.array(validation_entry(bench, validation)["class_images"])
    if is_first_process():
        output.say(f"chosen by {explained(objective, counts, 'validation')}")
        if said := shared_words(validation_shared(cache.manifest)):
            output.say(said)
    before = tuning_path(options.results, entry, cache.manifest, fixed)
    there = before.read_bytes() if before.is_file() else b""
    document = tune(
        entry, bench, options.seeds, fixed=fixed, workers=options.workers, watcher=Display(quiet=output.quiet), objective=objective,
        validation=validation, budget=options.budget, results=options.results,
    )  # fmt: skip
    if is_first_process():
        path = write_tuning(document, entry, cache.manifest, options.results)
        _show_tuning(document, path, options.results, output)
        if path.read_bytes() == there:
            output.say("tuned before with the same settings, code and versions, and not fitted again; move the file away to fit anew")
    leave_process_group()


def _show_tuning(document: dict[str, Any], path: Path, results: Path, output: Output) -> None:
    """The best points of the grid, the choice, and how settled it is."""
    objective = objective_in(document)
    factor = 1 if objective.lower else 100
    table = Table(
        title=f"{document['strategy']} on {document['cache']}: validation {objective.metric.replace('_', ' ')}, {_points_text(document)} x seeds {document['seeds']}"
    )
    names = list(document["grid"][0]["hyperparameters"])
    unit = "" if objective.lower else " %"
    for name in [*names, f"mean{unit}", f"per seed{unit}"]:
        table.add_column(name, justify="right")
    for row in sorted(document["grid"], key=lambda row: row["mean"] * (1 if objective.lower else -1))[:_SHOWN]:
        values = [str(row["hyperparameters"][name]) for name in names]
        table.add_row(*values, f"{factor * row['mean']:.2f}", " ".join(f"{factor * value:.2f}" for value in row[objective.metric]))
    output.say(table)
    if more := document["grid"][_SHOWN:]:
        output.say(f"and {counted(len(more), 'point')} more, in the file below")
    for row in document["grid"]:
        if not row.get("repeats", True):
            output.say(
                f"not chosen: {row['hyperparameters']}: from an initial head that differs by {SHIFT:g} it scores "
                f"{' '.join(f'{factor * value:.2f}' for value in row['shifted'])}{unit} per seed, so rounding decides where it ends"
            )
    if diverged := [row["hyperparameters"] for row in document["grid"] if has_diverged(row)]:
        output.say(f"not chosen: {counted(len(diverged), 'point')} whose fits diverged, the first {diverged[0]}")
    for line in warnings_of_choice(document):
        output.note(f"lt-bench: {line}")
    if refused := document.get("refused"):
        output.say(f"{len(refused)} more points of the grid are refused, the first because {refused[0]['reason']}")
    if document["at_edge"]:
        output.say(f"the choice lies at the edge of the grid in {', '.join(document['at_edge'])}; a wider grid might choose another")
    output.say(f"chosen on {validation_text(document)}{error_text(document.get('standard_error'), percent=not objective.lower)}")
    for line in openness_of_choice(document):
        output.say(line)
    tuned = with_results("--tuned", results)
    use = "some hyper-parameters were fixed by hand, so --tuned does not take it" if document["fixed"] else f"use it with {tuned}"
    output.say(f"chosen: {document['choice']}; written to {path}; {use}")
    if earlier := earlier_tunings(path, document["id"]):
        output.say(f"beside it, for records that name them: {counted(len(earlier), 'earlier tuning')}; --tuned takes the newest")


def _points_text(document: dict[str, Any]) -> str:
    """`35 points`, or `12 of 35 points` that a budget drew."""
    tried = len(document["grid"])
    return f"{tried} of {document['budget']['of']} points" if "budget" in document else counted(tried, "point")


def bench_verb(options: BenchOptions, output: Output) -> None:
    """Run the suite's runs that are not recorded yet, and show the results.

    Raises:
        UserError: the suite cannot be read; or, at the end, runs failed: each is named.
    """
    require_logger(options.logger)
    suite = read_suite(suite_path(options.suite))
    hardware = Hardware("auto" if options.slurm else options.accelerator, options.devices)
    check_workers(options.workers, hardware.layout.world, options.slurm)
    join_process_group(hardware.layout, hardware.device)
    store, slurm = Store(options.results), None
    if options.slurm:
        slurm = Jobs(options.slurm, options.results / "slurm", options.workers, options.accelerator, options.slurm_options)
    outcome = run_suite(suite, store, hardware, workers=options.workers, slurm=slurm, watcher=Display(quiet=output.quiet))
    if is_first_process():
        mode = wandb_mode(options.wandb, options.logger)
        log_records(outcome.records, store, mode, options.wandb_project, options.logger)
        _show_sync(mode, outcome.records, store, output)
        for remark in outcome.remarks:
            output.note(f"lt-bench: {remark}")
        shared = outcome.workers > 1 and not slurm
        if wrong := unhealthy(outcome.records):
            names = ", ".join(dict.fromkeys(record.identity.strategy for record in wrong))
            output.note(
                f"lt-bench: {len(wrong)} of {len(outcome.records)} fits look wrong, and `{with_results('lt-bench leaderboard', options.results)}` marks their rows: {names}"
            )
        by = f"; {outcome.fitted} of the runs were shared by {outcome.workers} workers" if shared else ""
        output.say(f"{counted(len(outcome.records), 'record')} of {options.suite} in {options.results}{by}")
    leave_process_group()
    _check_complete(options.suite, outcome, len(suite.caches))


def _check_complete(name: str, outcome: SuiteOutcome, caches: int) -> None:
    """Refuse a suite with failed runs or absent caches, and print the absent ones.

    Raises:
        UserError: runs failed, or caches are not here.
    """
    for absent, why in outcome.absent.items():
        print(f"not here: {absent}: {why}", file=sys.stderr)  # noqa: T201
    if outcome.failures:
        raise UserError(f"{len(outcome.failures)} of the suite failed and are not recorded: " + "; ".join(outcome.failures))
    if outcome.absent:
        raise UserError(
            f"{name} is incomplete: {len(outcome.absent)} of its {caches} caches are not here ({', '.join(outcome.absent)}); "
            "get what the lines above name, and the same command goes on from there"
        )


def verify_verb(options: VerifyOptions, output: Output) -> None:
    """Run a record again and compare.

    Raises:
        UserError: as ``bench.verify.verify``; or a metric differs by more than the tolerance.
    """
    folder = None if options.record is None else submission_of(options.record)
    if folder is not None:
        _verify_submission(folder, options, output)
        return
    record, differences = verify(options, _progress(output))
    worst = max(differences, key=lambda name: differences[name])
    largest = f"largest difference {differences[worst]:.2g} ({worst})" if differences[worst] else "all are the same to the last digit"
    output.say(f"{len(differences)} metrics compared; {largest}, tolerance {options.tolerance:g}")
    output.data({"record": options.record, "tolerance": options.tolerance, "differences": differences})
    check_repeats(options, record, differences)


def _verify_submission(folder: Path, options: VerifyOptions, output: Output) -> None:
    """Verify a submission: print a line for each record, and write those that repeat to ``verified.json``."""
    failed: list[UserError] = []
    rows = []
    for record, outcome in verify_submission(folder, options, _progress(output)):
        if isinstance(outcome, UserError):
            failed.append(outcome)
            continue
        output.say(f"{record.strategy.name}-{record.id}: verified; largest difference {outcome.difference:.2g} ({outcome.metric})")
        rows.append({"record": record.id, "difference": outcome.difference, "metric": outcome.metric})
    output.say(f"wrote {folder / VERIFIED}")
    output.data({"folder": folder, "tolerance": options.tolerance, "verified": rows, "failed": [str(error) for error in failed]})
    if failed:
        more = f" (and {len(failed) - 1} more)" if failed[1:] else ""
        raise UserError(f"{failed[0]}{more}")


def check_verb(options: CheckOptions, output: Output) -> None:
    """The contract suite, printed check by check."""
    findings = check_strategy(find(options.strategy))
    for finding in findings:
        output.say(f"  {'ok    ' if finding.problem is None else 'FAILED'}  {finding.asks}")
        if finding.problem is not None:
            output.say(f"          {finding.problem}")
    output.data([vars(finding) for finding in findings])
    failed = sum(finding.problem is not None for finding in findings)
    if failed:
        raise UserError(
            f"{options.strategy}: {failed} of {len(findings)} checks failed, see above; the contract is lt_bench/strategies/contract.py"
        )
    output.say(f"{options.strategy} keeps the contract: {len(findings)} checks")
