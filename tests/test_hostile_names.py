"""Names that are formulas, elements, headings, commands of a terminal or of LaTeX: shown as they are written, in every format, and executed in none."""

import csv
import io
import json
import os
import re

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from lt_bench.core.errors import printable
from lt_bench.core.names import spreadsheet_text
from lt_bench.data.images.decode import BrokenImage, decode
from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.page.page import page
from lt_bench.leaderboard.tables import columns as table_columns
from lt_bench.leaderboard.tables.latex import latex_table
from lt_bench.leaderboard.tables.terminal import board_table
from lt_bench.leaderboard.tables.text import csv_table, escape, markdown_table
from lt_bench.results.store import Store

NAMES = {
    "formula": '=HYPERLINK("http://x";"y")', "plus": "+1+cmd|' /C calc'!A0", "at": "@SUM(1)", "element": "<img src=x onerror=alert(1)>", "heading": "a\n\n# heading", "escape": "\x1b[31mred\x1b]0;t\x07",
    "cell": "a | b", "code": "`rm`", "link": "[x](javascript:alert(1))", "latex": r"\input{/etc/passwd} $x$ 50% a_b", "markup": "[/red] [bold]", "dollar": "$\\frac",
    "script": "</script><script>alert(1)</script>", "bidi": "a\u202eb",
}  # fmt: skip


@pytest.fixture(params=NAMES, scope="module")
def hostile(request):
    return NAMES[request.param]


def named(builder, backbone, mode):
    """A board whose backbone, class names and a hyper-parameter have these names."""
    builder = type(builder)(backbone=backbone, num_classes=4, per_class=5)
    made = [builder.make(name, 0, hyperparameters={"mode": mode, "kind": kind}) for name, kind in (("los", 1), ("los", 2), ("crt", 1))]
    (board,) = boards(from_records(made))
    return board


@pytest.fixture(scope="module")
def ranking(builder, hostile):
    return named(builder, hostile, hostile)


@pytest.fixture(scope="module")
def plain(builder):
    return named(builder, "resnet", "a")


def usable(ranking):
    return tuple(column for column in table_columns.registered() if column.main)


def controls(text):
    return [letter for letter in text if not letter.isprintable() and letter not in "\n "]


def test_no_cell_of_the_csv_is_a_formula_or_a_line_break(ranking, hostile):
    text = csv_table([ranking], usable(ranking))
    rows = list(csv.reader(io.StringIO(text)))
    assert len({len(row) for row in rows}) == 1
    assert not [cell for row in rows for cell in row if re.match(r"[=@+]|-[^0-9.]", cell) and cell != "-"]
    assert controls(text) == []
    assert printable(hostile) in rows[1][rows[0].index("backbone")]


def test_markdown_has_the_same_lines_and_no_elements(ranking, plain):
    text = markdown_table(ranking, usable(ranking))
    assert text.count("\n") == markdown_table(plain, usable(ranking)).count("\n")
    assert [line for line in text.splitlines() if line.startswith("#")] == [text.splitlines()[0]]
    assert not re.search(r"<(?!/?u>)", text)
    assert "](" not in text
    assert controls(text) == []
    body = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in body}) == 1


def test_latex_runs_nothing(ranking):
    text = latex_table(ranking, usable(ranking))
    assert "\\input" not in text
    assert "\\frac" not in text
    assert not re.search(r"(?<!\\)\$(?!\\(pm|dagger|Delta|\^)|\^)x", text)
    assert controls(text) == []


def test_the_terminal_gets_no_command(ranking, hostile):
    out = io.StringIO()
    Console(file=out, width=400, force_terminal=False).print(board_table(ranking, usable(ranking)))
    assert controls(out.getvalue()) == []


def test_the_page_has_no_element_of_a_name(ranking):
    html = page([ranking], usable(ranking))
    data = re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', html, re.DOTALL)
    assert data is not None
    assert "<" not in data[1]
    assert json.loads(data[1])["boards"][0]["rows"]
    assert "alert(1)" not in html.replace(data[1], "")


@pytest.mark.parametrize("text", ["-", "-0.5", "-1.01 to 0.02", "+1", "1e-3", "los", "", "a=b"])
def test_usual_cells_stay(text):
    assert spreadsheet_text(text) == text
    assert escape("tau_norm [tau=0.5] ± 0.1") == "tau_norm [tau=0.5] ± 0.1"


def test_an_error_reaches_the_terminal_without_commands(cli):
    done = cli("list", "strategies", "\x1b]0;title\x07")
    assert done.code == 2
    assert controls(done.err) == []
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("made", ["pipe", "link", "device"])
def test_what_is_no_file_is_not_read(made, tmp_path, builder):
    place = tmp_path / "x.jpg"
    if made == "pipe":
        os.mkfifo(place)
    elif made == "link":
        os.mkfifo(tmp_path / "pipe")
        place.symlink_to(tmp_path / "pipe")
    else:
        place.symlink_to("/dev/zero")
    with pytest.raises(BrokenImage, match="not a regular file"):
        decode(place)


def test_pipes_among_images_and_records_end_in_one_line(cli, tmp_path, builder):
    for k, name in enumerate(("a", "b")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(np.full((8, 8, 3), 20 * k + i, np.uint8)).save(tmp_path / "images" / name / f"{i}.png")
    os.mkfifo(tmp_path / "images" / "a" / "z.png")
    done = cli("data", "check", "folder", "--data-dir", str(tmp_path / "images"), "--decode", "-1")
    assert (done.code, "not a regular file" in done.err) == (2, True), done.err
    store = Store(tmp_path / "results")
    path = store.path(store.write(*builder.make("los")))
    os.mkfifo(path.with_name("los-0123456789abcdef.json"))
    assert len(leaderboard(tmp_path / "results").boards) == 1
