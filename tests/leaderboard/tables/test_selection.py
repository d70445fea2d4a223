from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from rich.console import Console

from lt_bench.core.errors import UserError
from lt_bench.leaderboard.intervals import TO
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.pairs import Pairs
from lt_bench.leaderboard.tables.selection import Selection, read_names

SKILLS = {"los": 2.5, "crt": 2.3, "my_head.MyHead": 1.0, "ce": 0.0}


@pytest.fixture(scope="module")
def made(builder):
    rows = [builder.make(name, seed, skill) for name, skill in SKILLS.items() for seed in range(2)]
    rows += [
        builder.make("my_head.MyHead", seed, 1.2, kind="tuned", hyperparameters={"margin": margin})
        for margin in (1, 2)
        for seed in range(2)
    ]
    return rows


def labels(made, *rows):
    return [row.label for ranking in leaderboard(made, selection=Selection(rows=rows)).shown for row in ranking.rows]


def test_rows_by_label_strategy_and_tuning(made):
    assert labels(made, "los", "ce") == ["los", "ce"]
    assert labels(made, "ce", "los") == ["los", "ce"]  # the order of the board
    assert labels(made, "my_head.MyHead") == ["my_head.MyHead"]
    tuned = labels(made, "my_head.MyHead:tuned", "crt:official")
    assert tuned[0] == "crt"
    assert sorted(tuned[1:]) == ["my_head.MyHead (tuned) [margin=1]", "my_head.MyHead (tuned) [margin=2]"]


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(rows=("lso",)), r"no row 'lso' \(did you mean 'los'\?\)"),
        (Selection(rows=("crt:tunde",)), "no row 'crt:tunde'"),
        (Selection(show=("acuracy",)), r"no column 'acuracy' \(did you mean 'accuracy'\?\)"),
        (Selection(show=("zzz",)), "no column 'zzz'; there are rank, "),
    ],
)
def test_an_unknown_row_or_column_writes_nothing(made, tmp_path, selection, said):
    with pytest.raises(UserError, match=said):
        leaderboard(made, selection=selection).write(tmp_path / "out", ["csv"])
    assert not (tmp_path / "out").exists()


def test_one_selection_for_every_table(made):
    selection = Selection(("few", "accuracy"), ("los", "ce"), {"los": "LOS", "few": "Tail"}, 1)
    board = leaderboard(made, selection=selection)
    assert "| Strategy | Tail | Accuracy |" in board.markdown
    rows = list(csv.DictReader(io.StringIO(board.csv)))
    assert [row["row"] for row in rows] == ["LOS", "ce"]
    assert list(rows[0])[-5:] == ["accuracy", "accuracy_low", "accuracy_high", "accuracy_seeds_low", "accuracy_seeds_high"]
    console = Console(width=200, file=io.StringIO())
    board.show(console)
    mean = f"{100 * np.mean([float(row.metrics['test']['few']) for row, _ in made[:2]]):.1f} ("
    assert all(f"{name}" in console.file.getvalue() for name in ("LOS", "Tail", mean))
    assert "2 of 6 rows" in board.markdown
    assert "2 of 6 rows" in console.file.getvalue()
    assert len(board.boards[0].rows) == 6


def test_the_row_that_differences_are_from_is_named_where_it_is_not_shown(made):
    best = leaderboard(made).boards[0].rows[0].label
    show = ("accuracy", "behind")
    hidden, shown = (leaderboard(made, selection=Selection(show, rows)).markdown for rows in (("crt", "ce"), (best, "ce")))
    assert best == "los"
    assert "Minus best: from los, the best row of the board, which is not shown." in hidden
    assert "Minus best: from los" in leaderboard(made, selection=Selection(show, ("crt", "ce"))).latex
    assert "Minus best: from" not in shown + leaderboard(made, selection=Selection(rows=("crt", "ce"))).markdown


def test_columns_by_key_and_by_title(made):
    by_key, by_title = (
        leaderboard(made, selection=Selection(show=show)).markdown for show in (("macro_accuracy", "few"), ("Macro", "FEW"))
    )
    assert by_key == by_title


def test_a_test_prior_is_a_column_by_its_name(made, tmp_path):
    path = tmp_path / "vets.csv"
    path.write_text("class,prior\n" + "".join(f"class {k},{k + 1}\n" for k in range(10)))
    tables = [
        leaderboard(made, test_priors=[str(path), "forward:7"], selection=Selection(show=show)).markdown
        for show in (("vets", "forward:7"), (str(path), "forward_7"), ("prior_vets", "at forward:7"))
    ]
    assert "| Strategy | At vets.csv | At forward:7 |" in tables[0]
    assert len(set(tables)) == 1


def test_places_are_among_the_rows_shown(made):
    (ranking,) = leaderboard(made, selection=Selection(rows=("crt", "ce"))).shown
    assert [(row.statistics.standing.first, row.statistics.standing.last) for row in ranking.rows] == [(1, 1), (2, 2)]


def test_intervals_over_test_images_or_none(made):
    (row, *_) = leaderboard(made).boards[0].rows
    low, high = (100 * end for end in row.statistics.interval)
    images = leaderboard(made, selection=Selection(("accuracy", "many", "loma"), ("los",), interval="images"))
    assert f"{100 * row.estimate('test/accuracy').mean:.2f} ({low:.2f}{TO}{high:.2f})" in images.markdown
    assert "interval over test images" in images.markdown
    of_seeds = row.estimate("test/accuracy").half
    both = (Selection(("accuracy",), ("los",)), Selection(("accuracy",), ("los",), interval="seeds"))
    usual, seeds = (leaderboard(made, selection=one).markdown for one in both)
    assert f" ({low:.2f}{TO}{high:.2f})" in usual
    assert f"seeds move these more (--interval seeds): los ± {100 * of_seeds:.2f} points" in usual.replace("\\", "")
    assert f" ± {100 * of_seeds:.2f}" in seeds
    assert 200 * of_seeds > high - low  # of two seeds
    assert " ± " not in leaderboard(made, selection=Selection(("accuracy",), interval="none")).markdown.split("\n- ")[0]


def test_names_come_from_a_file(tmp_path):
    path = tmp_path / "names.yaml"
    path.write_text("los: LOS\nloma: LoMa\n")
    assert read_names(path) == {"los": "LOS", "loma": "LoMa"}
    for text in ("- los", "los: [1]", "los: {", "los: 1"):
        path.write_text(text)
        with pytest.raises(UserError, match="names are lines such as"):
            read_names(path)
    with pytest.raises(UserError, match=r"none\.yaml"):
        read_names(tmp_path / "none.yaml")


def test_a_name_that_stands_for_nothing_is_said(made):
    names = {
        "los": "LOS",
        "my_head.MyHead:tuned": "Mine",
        "ce": "CE",
        "few": "Tail",
        "rank": "Place",
        "lso": "LOS",
        "crt:official": "cRT",
        "zzzz": "Z",
    }
    said = leaderboard(made, selection=Selection(names=names, rows=("los",))).unknown_names
    assert said == ["lso (did you mean 'los'?)", "zzzz"]


def test_pairs_come_back_as_they_were():
    full = np.array([[0, 0.5, -0.25], [-0.5, 0, 0.125], [0.25, -0.125, 0]])
    pairs = Pairs(full, np.array([[0, np.inf, 1], [np.inf, 0, 2], [1, 2, 0]]), np.abs(full) > 0.2)
    again = Pairs.from_json(pairs.to_json(), 3)
    assert all(np.array_equal(getattr(pairs, name), getattr(again, name)) for name in vars(pairs))
    assert pairs.better(lower=False).tolist() == [[False, True, False], [False, False, False], [True, False, False]]
    assert pairs.better(lower=True).tolist() == pairs.better(lower=False).T.tolist()
