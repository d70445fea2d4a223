"""The verbs that take single files of results: ``diff``, ``migrate``."""

from __future__ import annotations

from typing import Any

from rich.table import Column, Table

from lt_bench.bench.options import DiffOptions, MigrateOptions
from lt_bench.cli.output import Output
from lt_bench.core.errors import UserError
from lt_bench.core.names import counted
from lt_bench.results.differences import KINDS, differences
from lt_bench.results.store import read_record

LINES = 12
"""Fields of a kind that a comparison of two records shows."""


def diff_verb(options: DiffOptions, output: Output) -> None:
    """Show the fields in which two records differ, and the metrics that differ, the largest relative difference first.

    Raises:
        UserError: a file is missing or no record.
    """
    if options.first is None or options.second is None:
        raise UserError("diff needs the JSON files of two records, whose paths a run prints: lt-bench diff ONE.json OTHER.json")
    for path in (options.first, options.second):
        if not path.is_file():
            raise UserError(
                f"{path}: {'a folder' if path.is_dir() else 'no such file'}; diff needs the JSON files of two records, whose paths a run prints"
            )
    both = differences(read_record(options.first), read_record(options.second))
    for kind in KINDS:
        lines = [f"  {name}: {_shown(one)} | {_shown(other)}" for name, (one, other) in both.fields[kind].items()]
        output.say(f"{kind}: {'differ' if lines else 'the same'}")
        for line in lines[:LINES]:
            output.say(line)
        if len(lines) > LINES:
            output.say(f"  and {len(lines) - LINES:,} more, which --json lists")
    table = Table("metric", *(Column(title, justify="right") for title in ("first", "second", "difference")))
    for name, (one, other) in both.metrics_that_differ.items():
        difference = "" if one is None or other is None else f"{other - one:+.3g}"
        table.add_row(name, *("" if value is None else f"{value:.6g}" for value in (one, other)), difference)
    if table.row_count:
        output.say(table)
    if same := len(both.metrics) - table.row_count:
        output.say(f"the same in both: {counted(same, 'metric')}")
    output.data({"differ_in": both.kinds, "fields": both.fields, "metrics": both.metrics})


def _shown(value: Any) -> str:
    """A value in one line; of a long list, only its length."""
    return f"{len(value)} values" if isinstance(value, list | tuple) and len(value) > 8 else str(value)


def migrate_verb(options: MigrateOptions, output: Output) -> None:
    """Bring older files to the form that this version reads.

    Raises:
        UserError: no path; or, at the end, some files stay as they were: each is named.
    """
    from lt_bench.bench.migrate import migrate

    if not options.paths:
        raise UserError("migrate needs caches, results directories or files, e.g. `lt-bench migrate results`")
    done = migrate(options.paths)
    for line in done.lines:
        output.say(line)
    output.say(f"{len(done.lines)} brought up to date, {done.current} were already, {len(done.refused)} stay as they are")
    output.data(vars(done))
    if done.refused:
        raise UserError("not brought up to date: " + "; ".join(done.refused))
