"""The verbs that show all records of a directory: ``leaderboard``, ``wandb``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lt_bench.bench.options import LeaderboardOptions, WandbOptions
from lt_bench.bench.options.recorded import names_groups
from lt_bench.cli.output import Output
from lt_bench.core.errors import UserError
from lt_bench.features.locate import known_caches

if TYPE_CHECKING:
    from lt_bench.leaderboard.boards import BoardRows
    from lt_bench.leaderboard.stats.effects import Effects


def leaderboard_verb(options: LeaderboardOptions, output: Output) -> None:
    """Print every board of the records and write the files.

    Raises:
        UserError: no such format, row or column, or anything that the records do not allow.
    """
    from lt_bench.leaderboard.leaderboard import checked_formats, leaderboard
    from lt_bench.leaderboard.stats.statistics import cache_directory
    from lt_bench.leaderboard.tables.latex import notes_on_size
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
    differences = board.shown_effects if options.against is not None else []  # refuses an unknown row before anything is written
    if options.against is not None and not differences:
        raise UserError(f"--against {options.against}: none of --rows is on every board of one split beside it; add one that is")
    written = board.write(options.out, formats, full=options.full)
    board.show(output.console)
    if options.statistics and (note := groups_note(board.shown)):
        output.say(note)
    output.written(options.out, written)
    if unknown := board.unknown_names:
        output.say(f"{options.names}: no row or column here is called {', '.join(unknown)}")
    tables = [path for path in written if path.name == "leaderboard.tex"]
    for note in notes_on_size("".join(path.read_text(encoding="utf-8") for path in tables)):
        output.say(f"leaderboard.tex: a table is {note}")
    if output.json:
        own = {column.key: dict(column.code) for column in board.columns if column.code}
        output.data(
            {
                "rows": _rows(board.csv),
                "files": [str(path) for path in written],
                "columns": own,
                "differences": [_differences(one) for one in differences],
            }
        )


def groups_note(rankings: Iterable[BoardRows]) -> str:
    """A line on boards whose caches here were split by groups that the records lack, so that statistics are over images; empty where there are none."""
    wanted = {ranking.board.cache_key for ranking in rankings if ranking.test_groups is None}
    names = sorted({manifest.name for _, manifest in known_caches() if manifest.key in wanted and names_groups(manifest.command)})
    if not names:
        return ""
    return (
        f"Split by groups, which no record says: {', '.join(names)}. Images of one group are alike, and intervals and places here count each image by itself, so they are too sure; "
        "lt-bench report has the intervals of a row over groups, and records of runs on a cache that lists its groups say them."
    )


def _rows(table: str) -> list[dict[str, Any]]:
    """Every row of every board, as in ``leaderboard.csv``, with the identity of its board; numbers as numbers, empty cells as null."""
    return [{name: _number(cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(table))]


def _differences(result: Effects) -> dict[str, Any]:
    """Differences over boards, in points; half-widths of 95 % intervals, null where there is one board; whether a row is told apart from the reference."""
    names = ("label", "mean", "boards", "classes", "both", "told_apart")
    rows = [{name: getattr(row, name) for name in names} | {"by_board": list(row.by_board)} for row in result.rows]
    return {"against": result.reference, "boards": list(result.boards), "classes": result.classes, "rows": rows}


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
