"""``lt-bench run``: re-train one strategy on one cache, evaluate, record, show."""

from __future__ import annotations

from lt_bench.console import page_console
from lt_bench.engine.fit import Hardware
from lt_bench.errors import UserError
from lt_bench.leaderboard.terminal import run_table
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store
from lt_bench.runs.heads import Bench, execute, first_process, leave_processes
from lt_bench.runs.loggers import log_records
from lt_bench.runs.options import RunOptions
from lt_bench.runs.planning import plan, tuned_choice
from lt_bench.runs.which_cache import resolve_cache
from lt_bench.strategies.registry import find


def run(options: RunOptions) -> list[RunRecord]:
    """Fit the strategy once per seed and record each; seeds recorded before are not fitted again.

    Raises:
        UserError: anything in the options that cannot be done; nothing is recorded of a run that failed.
    """
    entry = find(options.strategy.name)
    cache = resolve_cache(options)
    given, tuning = options.strategy.hyperparameters, None
    if options.tuned:
        choice = tuned_choice(entry, cache.manifest, options.results)
        if choice is None:
            raise UserError(
                f"{entry.name} was not tuned on cache {cache.manifest.name}; run `lt-bench tune --strategy {entry.name} --cache {cache.path}` first"
            )
        if given:
            raise UserError(f"--tuned takes the chosen hyper-parameters, and {', '.join(given)} was given too; leave one of them out")
        given, tuning = choice
    planned = plan(entry, cache.manifest, given, options.seeds, tuning)
    store, records = Store(options.results), []
    before = {one.id for one in planned if store.has(one.id)}
    failures = execute(Bench(cache, Hardware(options.accelerator, options.devices)), planned, store, records.append)
    if failures:
        raise UserError("; ".join(failures))
    if first_process():
        log_records(records, store, options.wandb, options.wandb_project)
        console = page_console()
        console.print(run_table(records, console.width))
        if before:
            console.print(f"{len(before)} of {len(planned)} were recorded in {options.results} before and not fitted again")
        console.print(f"records: {', '.join(str(store.path(record)) for record in records)}", soft_wrap=True)
    leave_processes()
    return records
