"""The verbs that show records: ``leaderboard``, ``wandb``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from rich.table import Column, Table

from lt_bench.bench.options import DiffOptions, LeaderboardOptions, MigrateOptions, WandbOptions
from lt_bench.cli.output import Output
from lt_bench.core.errors import UserError
from lt_bench.core.names import counted
from lt_bench.features.locate import known_caches


def leaderboard_verb(options: LeaderboardOptions, output: Output) -> None:
    """Print every board of the records and write the files.

    Raises:
        UserError: no such format, row or column, or anything that the records do not allow.
    """
    from lt_bench.leaderboard.leaderboard import checked_formats, leaderboard
    from lt_bench.leaderboard.stats.statistics import cache_directory
    from lt_bench.leaderboard.tables.selection import Selection, read_names

    formats = checked_formats(options.formats)
    if options.digits is not None and not 0 <= options.digits <= 9:
        raise UserError(f"--digits {options.digits}: between 0 and 9")
    names = {} if options.names is None else read_names(options.names)
    selection = Selection(tuple(options.show), tuple(options.rows), names, options.digits, options.interval)
    board = leaderboard(
        options.results,
        options.columns,
        statistics=options.statistics,
        statistics_dir=cache_directory(),
        objective=options.objective,
        test_priors=options.test_priors,
        selection=selection,
        against=options.against,
    )
    written = board.write(options.out, formats, full=options.full)
    board.show(output.console)
    if options.statistics and (note := groups_note(ranking.board.cache_key for ranking in board.shown)):
        output.say(note)
    output.written(options.out, written)
    if output.json:
        own = {column.key: dict(column.code) for column in board.columns if column.code}
        output.data({"rows": _rows(board.csv), "files": [str(path) for path in written], "columns": own})


def groups_note(keys: Iterable[str]) -> str:
    """A line on boards of caches here that were split by groups, since intervals and places of a board are over images; empty where there are none."""
    wanted = set(keys)
    names = sorted({manifest.name for _, manifest in known_caches() if manifest.key in wanted and "--group-" in manifest.command})
    if not names:
        return ""
    return (
        f"Split by groups: {', '.join(names)}. Images of one group are alike, and intervals and places here count each image by itself, so they are too sure; "
        "lt-bench report has the intervals of a row over groups."
    )


def _rows(table: str) -> list[dict[str, Any]]:
    """Every row of every board, as in ``leaderboard.csv``, with the identity of its board; numbers as numbers, empty cells as null."""
    return [{name: _number(cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(table))]


def _number(cell: str) -> float | str | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell


def wandb_verb(options: WandbOptions, output: Output) -> None:
    """W&B rebuilt from the records.

    Raises:
        UserError: no such action, a dashboard without an entity, or anything that W&B refuses.
    """
    if options.action == "push":
        from lt_bench.deploy.wandb_models import push_exports, read_exports
        from lt_bench.leaderboard.wandb.ledger import Destination
        from lt_bench.leaderboard.wandb.view import push, sync_command

        exports = read_exports(options.exports, options.results)
        pushed = push(options.results, Destination(options.project, options.entity, options.online, options.results), options.plots)
        push_exports(exports, pushed)
        place = "online" if options.online else "offline"
        sync = f"; `{sync_command(options.results)}` sends them" if pushed.written and not options.online else ""
        output.say(f"{len(pushed.written)} W&B runs written {place}, {len(pushed.skipped)} there already{sync}")
    elif options.action == "dashboard":
        from lt_bench.leaderboard.wandb.dashboard import dashboard

        if not options.entity:
            raise UserError("wandb dashboard needs --entity, your W&B user or team; a dashboard lives online")
        for address in dashboard(options.results, options.entity, options.project):
            output.say(address)
    else:
        raise UserError(f"wandb {options.action or 'needs an action'}: one of push, dashboard")


LINES = 12
"""Fields of a kind that a comparison of two records shows."""


def diff_verb(options: DiffOptions, output: Output) -> None:
    """In what two records differ, and their metrics side by side.

    Raises:
        UserError: a file is missing or no record.
    """
    from lt_bench.results.differences import KINDS, differences
    from lt_bench.results.store import read_record

    if options.first is None or options.second is None:
        raise UserError("diff needs the JSON files of two records, whose paths a run prints: lt-bench diff ONE.json OTHER.json")
    for path in (options.first, options.second):
        if not path.is_file():
            raise UserError(f"{path}: no such file; diff needs the JSON files of two records, whose paths a run prints")
    both = differences(read_record(options.first), read_record(options.second))
    for kind in KINDS:
        lines = [f"  {name}: {_shown(one)} | {_shown(other)}" for name, (one, other) in both.fields[kind].items()]
        output.say(f"{kind}: {'differ' if lines else 'the same'}")
        for line in lines[:LINES]:
            output.say(line)
        if len(lines) > LINES:
            output.say(f"  and {len(lines) - LINES:,} more, which --json lists")
    table = Table("metric", *(Column(title, justify="right") for title in ("first", "second", "difference")))
    different = {name: values for name, values in both.metrics.items() if values[0] != values[1]}
    for name, (one, other) in different.items():
        difference = "" if one is None or other is None else f"{other - one:+.3g}"
        table.add_row(name, *("" if value is None else f"{value:.6g}" for value in (one, other)), difference)
    if different:
        output.say(table)
    if same := len(both.metrics) - len(different):
        output.say(f"the same in both: {counted(same, 'metric')}")
    output.data({"differ_in": both.kinds, "fields": both.fields, "metrics": both.metrics})


def _shown(value: Any) -> str:
    """A value on a line; of a long list, how many there are."""
    return f"{len(value)} values" if isinstance(value, list | tuple) and len(value) > 8 else str(value)


def migrate_verb(options: MigrateOptions, output: Output) -> None:
    """Older files as this version reads them.

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
