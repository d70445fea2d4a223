from __future__ import annotations

import csv
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lt_bench.core.errors import UserError
from lt_bench.core.provenance import combined, source_digest
from lt_bench.leaderboard.boards import BoardRows, boards
from lt_bench.leaderboard.intervals import ERROR_IS, TO, Estimate
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.stats.shares import exact_interval
from lt_bench.leaderboard.tables import columns as columns_module
from lt_bench.leaderboard.tables.cells import MISSING, budget_note, interval_note, legend, notes, table_cells, validation_note, value_text
from lt_bench.leaderboard.tables.columns import Column, register, registered
from lt_bench.leaderboard.tables.selection import Selection
from lt_bench.leaderboard.tables.terminal import run_table
from lt_bench.leaderboard.tables.text import csv_table, escape
from lt_bench.results.store import Store

SKILLS = {"los": 2.5, "balanced_softmax": 0.3, "ce": 0.0}


@pytest.fixture
def results(tmp_path, builder):
    store = Store(tmp_path / "results")
    for strategy, skill in SKILLS.items():
        for seed in range(3):
            store.write(*builder.make(strategy, seed, skill))
    store.write(*builder.make("tau_norm", 0, 0.1, trains="nothing"))
    return store.directory


def text_of(renderable):
    console = Console(width=200, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("value", "style", "digits", "text"),
    [
        (Estimate(0.5312, 0.5272, 0.5352, 5), "percent", 2, "53.12 ± 0.40"),
        (Estimate(0.5312, None, None, 1), "percent", 2, "53.12"),
        (Estimate(1.0, 0.868, 1.0, 5), "percent", 2, f"100.00 (86.80{TO}100.00)"),
        (Estimate(0.9333, 0.675, 0.9984, 5), "percent", 1, f"93.3 (67.5{TO}99.8)"),
        (Estimate(0.5, 0.41, 0.575, 5), "percent", 2, "50.00 ± 8.25"),  # 9 and 7.5
        (Estimate(0.5, 0.4992, 0.5003, 5), "percent", 1, "50.0 ± 0.1"),  # one digit hides it
        (Estimate(0.5, 0.4992, 0.5003, 5), "percent", 2, f"50.00 (49.92{TO}50.03)"),
        (Estimate(0.0213, 0.0203, 0.0223, 5), "number", 2, "0.0213 ± 0.0010"),
        (Estimate(float("nan"), None, None, 5), "percent", 2, MISSING),
        (None, "text", 0, MISSING),
        (51300, "count", 0, "51,300"),
        (-0.00001, "percent", 2, "0.00"),
        (12.34, "seconds", 1, "12.3"),
        ("official", "text", 0, "official"),
    ],
)
def test_cell_text(value, style, digits, text):
    assert value_text(value, Column("c", "C", lambda row: None, style=style, digits=digits)) == text


def test_best_and_second_follow_the_printed_value(builder):
    made = [builder.make(name, 0, correct=np.arange(200) < hits)[0] for name, hits in (("a", 150), ("b", 150), ("c", 140), ("d", 100))]
    (found,) = boards(from_records(made))
    accuracy = [column for column in registered() if column.key == "accuracy"]
    assert [line[0].place for line in table_cells(found, tuple(accuracy))] == [1, 1, 2, None]


def test_bold_accuracies_are_those_that_may_be_the_best(results):
    found = leaderboard(results).boards[0]
    accuracy = tuple(column for column in registered() if column.key in ("accuracy", "few"))
    assert [row.statistics.standing.text for row in found.rows] == ["1 a", "2-4 b", "2-4 b", "2-4 b"]
    assert [line[0].place for line in table_cells(found, accuracy)] == [1, 2, 2, 2]
    assert sorted(line[1].place or 3 for line in table_cells(found, accuracy))[:2] == [1, 2]
    pairs = found.pairs
    different = pairs.different.copy()
    different[0, 2] = different[2, 0] = False  # the third may be the best too
    different[1, 3] = different[3, 1] = True
    changed = replace(found, pairs=replace(pairs, different=different))
    assert [line[0].place for line in table_cells(changed, accuracy)] == [1, 2, 1, None]
    (note,) = [note for note in notes(found, registered()) if note.startswith("Rank:")]
    assert "Bold Accuracy: place 1 is possible by these tests" in note
    low, high = found.rows[0].statistics.interval
    assert f"los has {100 * low:.2f} to {100 * high:.2f} (95 %, over test images), its few-shot classes " in note


def test_files_are_byte_stable_and_right(results, tmp_path, builder):
    first = leaderboard(results).write(tmp_path / "a", ("markdown", "csv"))
    second = leaderboard(results).write(tmp_path / "b", ("markdown", "csv"))
    assert [path.name for path in first] == ["LEADERBOARD.md", "leaderboard.csv"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(first[1].read_text()))}
    assert set(lines) == {*SKILLS, "tau_norm"}
    values = [100 * builder.make("los", seed, 2.5)[0].metrics["test"]["accuracy"] for seed in range(3)]
    assert float(lines["los"]["accuracy"]) == pytest.approx(np.mean(values), abs=1e-6)
    assert float(lines["los"]["accuracy_seeds_low"]) < np.mean(values) < float(lines["los"]["accuracy_seeds_high"])
    for name in ("los", "tau_norm"):
        ends = [float(lines[name][f"accuracy_{end}"]) / 100 for end in ("low", "high")]
        assert ends == pytest.approx([float(end) for end in exact_interval(float(lines[name]["accuracy"]) / 100, 200)])
    assert lines["tau_norm"]["accuracy_seeds_low"] == ""
    assert lines["los"]["command"].endswith("--seeds 0,1,2")
    markdown = first[0].read_text()
    low, high = (float(lines["los"][f"accuracy_{end}"]) for end in ("low", "high"))
    assert f"| los | 1 a | **{np.mean(values):.2f} ({low:.2f}{TO}{high:.2f})**" in markdown
    explained = f"(low{TO}high), its ends, where one side is over a fifth shorter; other figures have none"
    assert f"interval over test images, of accuracies and of Gap, or {explained}" in markdown
    assert "95 % t interval over seeds (head seeds, one backbone)" in leaderboard(results, statistics=False).markdown


def test_terminal_shows_every_row(results):
    console = Console(width=220, file=io.StringIO())
    leaderboard(results).show(console)
    shown = console.file.getvalue()
    assert all(name in shown for name in (*SKILLS, "tau_norm", "Accuracy", "LoMa bal."))


def test_what_sets_rows_apart_is_shown_in_the_terminal(builder):
    records = [builder.make("los", 0, 0.6, hyperparameters={"epsilon": 0.9, **more})[0] for more in ({}, {"matmul": "medium"})]
    assert "los [matmul=medium]" in text_of(run_table(records))
    assert "los [matmul=medium]" in text_of(run_table(records[1:]))  # also where nothing else is on the board


def test_run_table_has_each_seed_and_the_mean(builder):
    records = [builder.make("los", seed, 0.6)[0] for seed in range(3)]
    shown = text_of(run_table(records))
    for record in records:
        assert f"{100 * record.metrics['test']['accuracy']:.2f}" in shown
    mean = np.mean([record.metrics["test"]["accuracy"] for record in records])
    assert f"{100 * mean:.2f} ± " in shown
    assert "LoMa bal. train" in shown
    assert "mean" not in text_of(run_table(records[:1])).replace("Seed", "")


def test_gap_is_macro_against_macro(builder):
    record, _ = builder.make()
    (found,) = boards(from_records([record]))
    wanted = record.metrics["train"]["macro_accuracy"] - record.metrics["test"]["macro_accuracy"]
    assert columns_module.train_test_gap(found.rows[0]).mean == pytest.approx(wanted)


def test_a_user_adds_a_column_from_a_module(results, tmp_path, monkeypatch):
    monkeypatch.setattr(columns_module, "_registered", dict(columns_module._registered))
    (tmp_path / "my_lt_columns.py").write_text(
        "from lt_bench.leaderboard.tables.columns import Column, register\n"
        "register(Column('tail_share', 'Tail share', lambda row: row.values('test/few').mean() / row.values('test/accuracy').mean()))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    board = leaderboard(results, ["my_lt_columns"])
    path = board.write(tmp_path / "out", ["markdown"])[0]
    assert "| Tail share |" in path.read_text()
    code = next(column.code for column in board.columns if column.key == "tail_share")
    assert code == {"my_lt_columns.py": source_digest((tmp_path / "my_lt_columns.py").read_text())}
    said = f"Columns of your own: Tail share by my_lt_columns.py {code['my_lt_columns.py']}."
    assert escape(said) in path.read_text()
    assert said.replace("_", r"\_") in board.latex
    rows = csv.DictReader(io.StringIO(board.csv))
    assert {row["columns_code"] for row in rows} == {combined({"tail_share my_lt_columns.py": code["my_lt_columns.py"]})}
    with pytest.raises(UserError, match="no_such_module"):
        registered(["no_such_module"])
    with pytest.raises(UserError, match="exists already"):
        register(Column("accuracy", "Mine", lambda row: None))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
        ("open('/no/such/file')", "No such file"),
        ("from lt_bench.leaderboard.tables.columns import nothing_here", "nothing_here"),
        ("from lt_bench.leaderboard.tables.columns import Column\nColumn()", "TypeError"),
    ],
)
def test_a_column_module_that_fails_at_import_is_one_line(tmp_path, monkeypatch, code, said):
    name = f"failing_columns_{said.partition(' ')[0].lower()}"
    (tmp_path / f"{name}.py").write_text(code + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=said) as caught:
        registered([name])
    assert str(caught.value).startswith(f"columns from {name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value", [lambda row: row.text("no_such_field"), lambda row: 1 // 0, lambda row: row.nothing, lambda row: Path("/no/file").read_text()]
)
def test_a_column_that_fails_on_a_row_is_one_line(results, builder, monkeypatch, value):
    monkeypatch.setattr(columns_module, "_registered", dict(columns_module._registered))
    column = register(Column("failing", "Failing", value))
    with pytest.raises(UserError, match="column 'failing' of row los: ") as caught:
        leaderboard(results).show(Console(width=200, file=io.StringIO()))
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(columns_module._registered, "loma", Column("loma", "LoMa", column.value))
    with pytest.raises(UserError, match="column 'loma' of row los: "):
        run_table([builder.make("los")[0]])


def test_seconds_have_no_best(builder):
    made = [builder.make(name, 0, fit_s=seconds)[0] for name, seconds in (("a", 1.0), ("b", 2.0))]
    (found,) = boards(from_records(made))
    (fit,) = [column for column in registered() if column.key == "fit_s"]
    cells = [line[0] for line in table_cells(found, (fit,))]
    assert sorted(cell.text for cell in cells) == ["1.0", "2.0"]
    assert [cell.place for cell in cells] == [None, None]
    assert "may share with other seeds, settings and strategies" in fit.about


def test_defaults_of_our_own_choice_are_said_to_be(builder):
    made = [builder.make("convex_la", 0, kind="author-tuned")[0], builder.make("los", 0)[0]]
    (found,) = boards(from_records(made))
    (tuning,) = [column for column in registered() if column.key == "tuning"]
    shown = {row.label: cell.text for row, (cell,) in zip(found.rows, table_cells(found, (tuning,)), strict=True)}
    assert shown == {"convex_la (author-tuned)": "defaults chosen by us on val", "los": "official"}


def test_no_torch():
    code = "import sys, lt_bench.leaderboard.leaderboard; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("interval", "said"), [("seeds", True), ("images", False), ("none", False)])
def test_other_test_images_move_figures_by_more_than_said_only_where_seeds_alone_are_said(results, tmp_path, interval, said):
    (board,) = Selection(interval=interval).boards(leaderboard(results, statistics_dir=tmp_path / "cache").boards)
    best = board.rows[0]
    (note,) = [note for note in notes(board, registered()) if note.startswith("Rank: ")]
    assert ("would move figures by more than ± says" in note) is said
    low, high = best.statistics.interval
    assert f"{best.label} has {100 * low:.2f} to {100 * high:.2f}" in note


def test_less_usual_columns_are_explained_under_the_table():
    said = legend(registered())
    assert "Few = mean accuracy of classes with fewer than 20 training images" in said
    assert "Bias = class bias: " in said


def test_all_validation_images_are_one_choice_counted_or_not(tmp_path, builder):
    """Tunings of earlier versions did not count them, or left the word out."""
    store = Store(tmp_path / "tuned")
    texts = ("all validation images, none of apple", "all 1,972 validation images, none of apple", "1,972 validation images, none of apple")
    for strategy, text in zip(("los", "crt", "ce", "cb"), (*texts, "400 balanced validation images"), strict=True):
        record, arrays = builder.make(strategy, 0, 1.0, kind="tuned")
        store.write(replace(record, tuning=replace(record.tuning, validation=text)), arrays)
    (note,) = [note for note in notes(leaderboard(store.directory).boards[0], registered()) if note.startswith("Tuned")]
    assert "on all 1,972 validation images, none of apple (rows: 3)" in note
    assert "on 400 balanced validation images (rows: 1)" in note
    assert note.count("(rows:") == 2


def test_the_standard_errors_of_choices_stand_in_the_note_and_in_points_in_the_file(tmp_path, builder):
    store = Store(tmp_path / "tuned")
    for strategy, objective, error in (("los", None, 0.00324), ("crt", "micro", 0.0128), ("ce", "cost", 0.5), ("cb", None, None)):
        record, arrays = builder.make(strategy, 0, 1.0, kind="tuned")
        tuning = replace(record.tuning, validation="all 30 validation images", objective=objective, standard_error=error)
        store.write(replace(record, tuning=tuning), arrays)
    board = leaderboard(store.directory).boards[0]
    (note,) = [note for note in notes(board, registered()) if note.startswith("Tuned")]
    assert ERROR_IS == "spread of the scores of the points that draws choose; not how sure the choice is"
    assert note.endswith(f"(rows: 4); standard error of the choice 0.32 to 1.28 points and 0.5 in units of the cost ({ERROR_IS}).")
    (column,) = [column for column in registered() if column.key == "choice_error"]
    shown = {str(row.text("strategy")): cell.text for row, (cell,) in zip(board.rows, table_cells(board, (column,)), strict=True)}
    assert shown == {"los": "0.32", "crt": "1.28", "ce": "0.50", "cb": MISSING}


def test_rows_tuned_over_unequal_numbers_of_points_are_named(tmp_path, builder):
    """More points are an advantage; of a budget the points that it drew among are said, too."""

    def board_of(name, sizes):
        store = Store(tmp_path / name)
        for strategy, (tried, whole) in sizes.items():
            record, arrays = builder.make(strategy, 0, 1.0, kind="tuned")
            store.write(replace(record, tuning=replace(record.tuning, grid_size=tried, whole_grid=whole)), arrays)
        record, arrays = builder.make("ncm", 0, 1.0, kind="official")
        store.write(record, arrays)
        return leaderboard(store.directory).boards[0]

    unequal, equal = board_of("unequal", {"los": (4, None), "crt": (40, None)}), board_of("equal", {"los": (12, 36), "crt": (12, 12)})
    (note,) = [note for note in notes(unequal, registered()) if "more points" in note]
    assert note == "Tuned over 4 to 40 points: more points are an advantage; `lt-bench tune --budget N` tries at most N of each."
    assert not [note for note in notes(equal, registered()) if "more points" in note]
    (column,) = [column for column in registered() if column.key == "tuning"]
    shown = {str(row.text("strategy")): cell.text for row, (cell,) in zip(equal.rows, table_cells(equal, (column,)), strict=True)}
    assert shown == {"los": "tuned on val, 12 of 36 tried", "crt": "tuned on val, 12 tried", "ncm": "official"}


def test_the_points_of_an_ensemble_are_no_unequal_budget(builder):
    """They are those of all its members, which no budget makes fewer."""
    made = []
    for strategy, size in (("los", 12), ("crt", 12), ("ensemble(los+crt)", 24)):
        record, arrays = builder.make(strategy, 0, 1.0, kind="tuned", family="ensemble" if "+" in strategy else "label softening")
        made.append((replace(record, tuning=replace(record.tuning, grid_size=size)), arrays))
    assert not [note for note in notes(leaderboard(made).boards[0], registered()) if "more points" in note]
    (other,) = boards(from_records([*(record for record, _ in made), _with_points(builder, "ce", 30)]))
    assert budget_note(other.rows).startswith("Tuned over 12 to 30 points")


def test_the_note_says_how_often_the_choices_are_chosen_alone(builder):
    def note(*shares):
        made = []
        for strategy, share in zip(("los", "crt", "ce"), shares, strict=False):
            record, _ = builder.make(strategy, 0, 1.0, kind="tuned")
            made.append(replace(record, tuning=replace(record.tuning, validation="all 30 validation images", alone_best=share)))
        return validation_note(boards(from_records(made))[0].rows)

    assert (
        note(0.44, 0.82, None)
        == "Tuned: chosen on all 30 validation images (rows: 3); chosen alone in 44 to 82 % of redrawn validation sets."
    )
    assert note(0.44) == "Tuned: chosen on all 30 validation images (rows: 1); chosen alone in 44 % of redrawn validation sets."


@pytest.mark.parametrize("text", ["not run", "none "])
def test_a_text_in_a_column_of_numbers_is_no_interval(builder, text):
    """Of a user's own column, which may say so where it has no number."""
    own = Column("mine", "Mine", lambda row: text)
    board = leaderboard([builder.make(name, 0, skill) for name, skill in (("los", 1.0), ("ce", 0.0))]).boards[0]
    assert interval_note(board.rows, (own,)) == ""
    (accuracy,) = (column for column in registered() if column.key == "accuracy")
    assert interval_note(board.rows, (own, accuracy)).startswith("±: half of the 95 % interval")
    assert [cell.parts for (cell,) in table_cells(board, (own,))] == [(text, "")] * 2


def test_shared_images_are_read_once_a_board(builder, monkeypatch):
    """Each reading goes through all runs of the board."""
    asked = []
    monkeypatch.setattr(BoardRows, "shared_images", property(lambda board: asked.append(board) or "shared"))
    rankings = boards(from_records([builder.make(name, 0)[0] for name in SKILLS]))
    lines = list(csv.DictReader(io.StringIO(csv_table(rankings, registered()))))
    assert [line["shared_images"] for line in lines] == ["shared"] * 3
    assert len(asked) == 1


def _with_points(builder, strategy, size):
    record, _ = builder.make(strategy, 0, 1.0, kind="tuned")
    return replace(record, tuning=replace(record.tuning, grid_size=size))
