"""``lt-bench report``: one row of a board class by class."""

from __future__ import annotations

import json

from lt_bench.bench.options import ReportOptions
from lt_bench.bench.report_groups import groups_of_tests
from lt_bench.bench.thumbnails import worst_thumbnails
from lt_bench.cli.output import Output, plain
from lt_bench.core.activity import doing
from lt_bench.core.errors import UserError
from lt_bench.core.extras import require_extra
from lt_bench.core.files import require_ours, write_text
from lt_bench.leaderboard.boards import BoardRows, Row, boards
from lt_bench.leaderboard.load import from_records, load_records
from lt_bench.leaderboard.report.classes import class_report
from lt_bench.leaderboard.report.output import class_table, classes_csv, confusions_csv, report_page
from lt_bench.results.store import arrays_of, read_record

SIGNS = {
    "report.html": ": report by class</title>",
    "classes.csv": "class,number,group,train_images",
    "confusions.csv": "true,predicted,images",
    "report.json": '"board":',
}
"""Text at the beginning of each file, by which an earlier one is known as ours."""


def report_verb(options: ReportOptions, output: Output) -> None:
    """Print the report and write its files.

    Raises:
        UserError: no row or several rows fit; the extra `plots` is missing; a file of another kind lies at an output path; or an error of the functions that make the parts.
    """
    require_extra("matplotlib", "plots", "report")
    require_ours({options.out / name: sign for name, sign in SIGNS.items()})
    for picture in (options.out / "confusions.svg", options.out / "confusions.png"):
        if picture.exists() and not (options.out / "report.json").is_file():
            raise UserError(f"{picture}: of no earlier report, and it would be replaced; name another place with --out")
    from lt_bench.leaderboard.report.picture import draw_confusions

    board, row = chosen_row(options)
    report = class_report(board, row, *groups_of_tests(board, row, options))
    with doing("drawing confusions and images"):
        thumbnails, without = worst_thumbnails(report, options.data_dir)
        picture = draw_confusions(report, options.out / "confusions")
    document = report.document()
    texts = {
        "report.html": report_page(report, picture, thumbnails, without),
        "classes.csv": classes_csv(report),
        "confusions.csv": confusions_csv(report),
        "report.json": json.dumps(plain(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    written = [write_text(options.out / name, text) for name, text in texts.items()] + [picture[0], picture[0].with_suffix(".png")]
    output.say(class_table(report, output.console.width))
    if without:
        output.say(without)
    output.written(options.out, written)
    output.data(document)


def chosen_row(options: ReportOptions) -> tuple[BoardRows, Row]:
    """The row of the named records, or the one of a strategy among the results, with its board.

    Raises:
        UserError: none is named, a file is no record, or other than one row fits: the message lists what there is.
    """
    if bool(options.records) == bool(options.strategy.name):
        raise UserError(
            "report needs the JSON files of records of one row, whose paths a run prints, or --strategy NAME and perhaps --results"
        )
    if missing := next((path for path in options.records if not path.is_file()), None):
        raise UserError(f"{missing}: no such file; report needs the JSON files of records, or --strategy NAME")
    if options.records:
        records = [(read_record(path), path) for path in options.records]
        runs = from_records((record, arrays_of(record, path.with_suffix(".npz"))) for record, path in records)
    else:
        runs = load_records(options.results)
    of = [(board, row) for board in boards(runs, options.objective) for row in board.rows]
    wanted = options.strategy
    fitting = [
        (board, row)
        for board, row in of
        if not wanted.name or (row.text("strategy") == wanted.name and wanted.hyperparameters.items() <= row.hyperparameters.items())
    ]
    if not fitting:
        there = sorted({row.label for _, row in of})
        raise UserError(
            f"{options.results}: no such record of {wanted.name}; there are {', '.join(there[:12])}{' and more' if len(there) > 12 else ''}"
        )
    if len(fitting) > 1:
        listed = "; ".join(f"{row.label} on {board.short} ({_place(row)})" for board, row in fitting[:6])
        raise UserError(
            f"{len(fitting)} rows fit, and a report is of one: {listed}{'; ...' if len(fitting) > 6 else ''}; name the records of one"
        )
    return fitting[0]


def _place(row: Row) -> str:
    return str(row.runs.columns["path"][row.positions[0]] or row.runs.columns["id"][row.positions[0]])
