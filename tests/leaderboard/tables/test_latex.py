from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.tables import latex
from lt_bench.leaderboard.tables.columns import registered
from lt_bench.leaderboard.tables.latex import COLUMN, escape, latex_table, table_width
from lt_bench.leaderboard.tables.selection import Selection
from lt_bench.results.store import Store

ENGINE = next(filter(None, map(shutil.which, ("pdflatex", "tectonic", "xelatex"))), None)
SHIPPED = Path(__file__).parents[3] / "benchmarks" / "results" / "shipped"
MEASURED = (
    r"\setbox0\hbox{\input{NAME/leaderboard}\unskip}\typeout{WIDTH NAME \the\wd0}\begin{table}\centering\input{NAME/leaderboard}\end{table}"
)
PAPER = Selection(("accuracy", "many", "few", "loma"), names={"los": "LOS", "weight_balancing": "Weight balancing"}, digits=1)


@pytest.fixture(scope="module")
def board(builder):
    names, larger = {"los": 2.5, "weight_balancing": 1.0, "logit_adjustment": 0.8, "ce": 0.0}, replace(builder, per_class=100)
    return leaderboard([larger.make(name, seed, skill) for name, skill in names.items() for seed in range(2)], selection=PAPER)


def compiled(folder, body):
    """Log of the engine on an article of two columns as wide as ICML's, with this body."""
    (folder / "paper.tex").write_text(
        "\\documentclass[10pt,twocolumn]{article}\\usepackage{booktabs}\\setlength{\\textwidth}{487pt}\\setlength{\\columnsep}{19pt}\n"
        f"\\begin{{document}}\\typeout{{WIDTH COLUMN \\the\\columnwidth}}{body}Text.\\end{{document}}\n"
    )
    options = [] if ENGINE.endswith("tectonic") else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([ENGINE, *options, "paper.tex"], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "paper.pdf").read_bytes().startswith(b"%PDF")
    return done.stdout + done.stderr


def test_table(builder):
    made = [
        builder.make(name, 0, correct=np.arange(200) < hits)[0] for name, hits in (("balanced_softmax", 150), ("los", 140), ("ce", 100))
    ]
    (found,) = boards(from_records(made))
    columns = tuple(column for column in registered() if column.key in ("accuracy", "few", "tuning"))
    text = latex_table(found, columns)
    lines = text.splitlines()
    assert re.search(r"balanced\\_softmax & \\textbf\{75\.00\}", text)
    assert re.search(r"los & \\underline\{70\.00\}", text)
    assert re.search(r"ce & 50\.00 ", text)
    body = [line for line in lines if " & " in line]
    assert len(body) == 4
    assert {line.count("&") for line in body} == {3}
    for pair in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert lines.count(pair) == 1
    assert text.count("{") == text.count("}")


def test_a_bare_tabular_and_a_float(board):
    bare = board.latex
    assert r"\begin{table" not in bare
    assert r"LOS & \textbf{" in bare
    assert r"{\tiny$\pm$" in bare
    assert bare.splitlines()[1] == r"% \usepackage{booktabs}"
    full = latex_table(board.shown[0], PAPER.columns(board.shown[0], board.columns), full=True)
    assert full.count(r"\begin{table}") == full.count(r"\end{table}") == full.count(r"\label{tab:") == 1
    (caption,) = re.findall(r"\\caption\{(.*)\}", full)
    assert "1,000 test images" in caption
    assert "interval over test images" in caption
    assert len(caption) < 680


def test_it_fits_a_column_by_the_widths_of_computer_modern(board):
    """The widths are those of matplotlib's metrics of cmr10, or a little more."""
    metrics = Path(matplotlib.get_data_path(), "fonts", "afm", "cmr10.afm").read_text()
    exact = {int(code): float(width) for code, width in re.findall(r"^C (\d+) ; WX ([\d.]+)", metrics, re.MULTILINE)}
    plain = [letter for letter in latex._WIDTHS if (letter.isascii() and letter.isalnum()) or letter in "+=()[],.:;/!?@*"]
    assert len(plain) > 70
    for letter in plain:
        assert exact[ord(letter)] - 1 <= latex._WIDTHS[letter] <= exact[ord(letter)] + 270, letter
    columns = PAPER.columns(board.shown[0], board.columns)
    lines = [[row.label, *cells] for row, cells in zip(board.shown[0].rows, latex.table_cells(board.shown[0], columns), strict=True)]
    size, width = latex._size(lines, columns, COLUMN)
    assert size.command in ("", r"\small", r"\footnotesize")
    assert COLUMN * 0.6 < width <= COLUMN == 234
    assert table_width(lines, columns, 1.0, 6.0) > width
    wide = latex_table(board.shown[0], registered(), full=True)
    assert r"\begin{table*}" in wide
    bare = latex_table(board.shown[0], registered())
    (note,) = latex.notes_on_size(bare + bare)
    assert re.search(r"^about .*more than a column.*--full", note)
    assert latex.notes_on_size(latex_table(board.shown[0], columns)) == []


@pytest.mark.skipif(ENGINE is None, reason="no pdflatex, tectonic or xelatex on the path: apt-get install texlive-latex-recommended")
def test_tables_compile_in_a_two_column_article_without_an_overfull_box(board, tmp_path, monkeypatch):
    """Bare tables and floats of small and shipped boards; an estimated width is the one that LaTeX measures, or at most 15 % more."""
    store = Store(SHIPPED)
    first = [record for record in store.records() if record.cache.name == "cifar100_lt-if100-resnet10s2"]
    shipped = leaderboard([(record, store.arrays(record)) for record in first])
    columns, long_names = (
        ("accuracy", "many", "medium", "few"),
        {"los": "Label over-smoothing (LOS)", "ce": "Cross_entropy & 5 %"},
    )
    bare = {
        "paper": board,
        "digits": replace(shipped, selection=Selection(columns, digits=1)),
        "means": replace(shipped, selection=Selection(interval="none")),
        "rows": replace(shipped, selection=Selection(columns[:2], ("los:tuned", "ce", "joint"), long_names, digits=1)),
    }
    floats = {
        "column": board,
        "both": shipped,
        "long": replace(shipped, selection=Selection(names=long_names)),
        "wide": replace(shipped, selection=Selection((*columns, "loma", "rsd", "tuning"))),
    }
    estimates, size = [], latex._size
    monkeypatch.setattr(latex, "_size", lambda *asked: estimates.append(size(*asked)) or estimates[-1])
    for name, one in (bare | floats).items():
        one.write(tmp_path / name, ["latex"], full=name in floats)
    text = {name: (tmp_path / name / "leaderboard.tex").read_text() for name in bare | floats}
    assert not [name for name in text if "more than" in text[name]]
    assert [r"\begin{table*}" in text[name] for name in floats] == [False, True, True, True]
    assert r"\begingroup\setlength" in text["both"]  # both columns have room for type of full size
    said = compiled(
        tmp_path, "".join(MEASURED.replace("NAME", name) for name in bare) + "".join(rf"\input{{{name}/leaderboard}}" for name in floats)
    )
    assert "Overfull" not in said
    assert "Float too large" not in said
    widths = {name: float(width) for name, width in re.findall(r"WIDTH (\w+) ([\d.]+)pt", said)}
    assert widths.pop("COLUMN") == COLUMN
    assert list(widths) == list(bare)
    for name, (_, estimated) in zip(bare, estimates, strict=False):
        assert 0.85 * estimated < widths[name] <= estimated <= COLUMN, name


def test_the_caption_says_where_rows_have_fewer_seeds(builder):
    made = [builder.make("los", seed) for seed in range(3)]
    assert "seeds 0--2." in leaderboard(made).latex
    assert "seeds 0--2 (1 to 3 a row)." in leaderboard([*made, builder.make("crt", 0)]).latex
    assert "seeds 0--3 (3 a row)." in leaderboard([*made, *(builder.make("ce", seed) for seed in (1, 2, 3))]).latex


def test_an_interval_with_two_ends_stands_small_behind_its_figure(builder):
    made = [builder.make(name, 0, correct=np.arange(200) < hits) for name, hits in (("los", 200), ("ce", 100))]
    text = leaderboard(made, selection=Selection(("accuracy", "loma"), digits=1)).latex
    assert r"los & \textbf{100.0} & {\tiny~(98.2--100.0)} & 4.0" in text
    assert r"ce & \textbf{50.0} & {\tiny$\pm$7.1} & 4.0" in text
    assert "(low--high), its ends, where one side is over a fifth shorter" in text
    assert "low--high" not in leaderboard(made, selection=Selection(("accuracy",), ("ce",))).latex


def test_a_column_without_a_value_is_left_out(builder):
    small = replace(builder, largest=90)  # no class has more than 100 training images
    made = [small.make(name, 0, skill)[0] for name, skill in (("los", 1.0), ("ce", 0.0))]
    for show in ((), ("accuracy", "many", "few")):
        text = leaderboard(made, selection=Selection(show)).latex
        assert "Many" not in text
        assert "Few" in text


def test_escape():
    assert escape("a_b & 5% ± – $x$") == r"a\_b \& 5\% $\pm$ -- \$x\$"  # noqa: RUF001


def test_rows_that_train_nothing_lack_no_seeds(builder):
    """They have one by design."""
    trained, untrained = [builder.make("los", seed) for seed in range(3)], builder.make("joint", 0, trains="nothing")
    assert "seeds 0--2." in leaderboard([*trained, untrained]).latex
    assert "seeds 0." in leaderboard([untrained]).latex


def test_the_caption_says_what_chose_and_that_budgets_were_unequal(builder):
    def caption(*sizes):
        made = []
        for name, size in zip(("los", "crt"), sizes, strict=True):
            record, arrays = builder.make(name, 0, kind="tuned")
            tuning = replace(record.tuning, grid_size=size, validation="all 100 validation images", standard_error=0.01, alone_best=0.5)
            made.append((replace(record, tuning=tuning), arrays))
        board = leaderboard(made)
        return latex_table(board.shown[0], board.columns[:2], full=True)

    unequal, equal = caption(4, 40), caption(12, 12)
    assert "Tuned: chosen on all 100 validation images (rows: 2). Tuned over 4 to 40 points: more points are an advantage." in unequal
    assert "Tuned: chosen on all 100 validation images (rows: 2)." in equal
    assert "Tuned over" not in equal
    assert "standard error" not in unequal
    assert "`" not in unequal
