"""Boards whose test set is long-tailed too: which objective ranks them, and where it is said."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

import lt_bench as lt
from lt_bench.core.errors import UserError
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.page.page import page
from lt_bench.leaderboard.tables.cells import notes, table_cells, usable
from lt_bench.leaderboard.tables.columns import registered
from lt_bench.leaderboard.tables.selection import Selection

K, D = 10, 32
COUNTS = np.round(200 * (4 / 200) ** (np.arange(K) / (K - 1))).astype(int)
NAMES = [f"species {k}" for k in range(K)]


def draw(counts, seed):
    means, rng = np.random.default_rng(0).normal(size=(K, D)), np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), counts)
    return means[labels] + 3.0 * rng.normal(size=(len(labels), D)), labels


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """`joint` and `logit_adjustment` on features whose test set has the tail of the training set."""
    folder = tmp_path_factory.mktemp("long_tailed_test") / "results"
    X, y = draw(COUNTS, 1)
    cache = lt.Cache.from_arrays(X, y, test=draw(np.maximum(1, COUNTS // 3), 4), class_names=NAMES, name="ponds")
    for strategy in ("joint", "logit_adjustment", "ncm"):
        lt.fit(strategy, cache, results=folder, accelerator="cpu")
    return folder


def order(board):
    return [row.label for row in board.rows]


def test_an_imbalanced_test_set_is_ranked_by_macro_accuracy_and_it_is_said(results):
    made = leaderboard(results)
    (board,) = made.boards
    counts = np.maximum(1, COUNTS // 3)
    assert (board.objective.kind, board.title.rpartition(", ")[2]) == ("macro", "objective macro")
    assert f"{counts.min()} to {counts.max()} test images a class, an imbalanced test set" in notes(board, registered())[0]
    macro, micro = ({row.label: row.estimate(f"test/{name}").mean for row in board.rows} for name in ("macro_accuracy", "accuracy"))
    assert order(board) == sorted(macro, key=lambda label: -macro[label])
    (by_images,) = leaderboard(results, objective="micro").boards
    assert order(by_images) == sorted(micro, key=lambda label: -micro[label])
    assert order(by_images)[0] == "joint" != order(board)[0]  # a head that abandons rare classes is first by images alone
    rows = {row["row"]: row for row in csv.DictReader(io.StringIO(made.csv))}
    for row in board.rows:
        line = rows[row.label]
        assert (line["objective"], float(line["objective_value"])) == ("macro", pytest.approx(100 * macro[row.label]))
        low, high = map(float, line["few_over_images"].split(" to "))
        assert low <= float(line["few"]) <= high
        assert high - low > 10  # four classes with 1 to 5 images say little
        low, high = row.statistics.interval
        assert low < macro[row.label] < high
    columns = [column.key for column in usable(board, registered()) if column.main]
    assert columns[:3] == ["rank", "macro_accuracy", "accuracy"]
    data = json.loads(page(made.boards, registered()).partition('id="data">')[2].partition("</script>")[0])["boards"][0]
    assert (data["lead"], data["rows"][0]["mean"]) == ("macro_accuracy", pytest.approx(macro[order(board)[0]], abs=1e-6))


def test_a_table_without_its_objective_says_by_what_it_is_ordered_and_explains_only_what_it_shows(results):
    shown, other = (
        leaderboard(results, objective="prior=backward:10", selection=Selection(show))
        for show in (("rank", "objective_value", "few"), ("few", "class_bias"))
    )
    for text in (other.markdown, other.latex):
        assert "Ordered by Prior-weighted, which is not shown: class accuracies weighted by a prior (backward:10)" in text
        assert not [word for word in ("Rank:", "Bold Prior-weighted", "Ranked by", "Published (") if word in text]
    assert "Bold is the best mean of a column" in other.markdown
    for text in (shown.markdown, shown.latex):
        assert "Bold Prior-weighted" in text
        assert "not shown" not in text
    assert "Rank: possible places" in shown.markdown
    assert "±:" not in leaderboard(results, selection=Selection(("loma",))).markdown  # no column has an interval


def test_priors_and_costs_rank_and_the_best_cost_is_the_lowest(results, tmp_path):
    prior, cost = tmp_path / "pond.csv", tmp_path / "vet.csv"
    prior.write_text("class,prior\n" + "".join(f"{name},{k == 0:d}\n" for k, name in enumerate(NAMES)))
    cost.write_text("class,cost\n" + "".join(f"{name},{1 if k < 5 else 50}\n" for k, name in enumerate(NAMES)))
    (board,) = leaderboard(results, objective=f"prior={prior}").boards
    first_class = {row.label: float(row.runs.array(row.positions[0], "test/class_accuracy")[0]) for row in board.rows}
    assert [row.scores[0] for row in board.rows] == pytest.approx(sorted(first_class.values(), reverse=True))
    assert "objective prior=pond.csv" in board.title
    made = leaderboard(results, objective=f"cost={cost}")
    (board,) = made.boards
    costs = [row.scores[0] for row in board.rows]
    assert costs == sorted(costs)
    for row in board.rows:
        labels, predicted = (row.runs.array(row.positions[0], name) for name in ("test_labels", "test_predictions"))
        assert row.scores[0] == pytest.approx(np.mean((labels != predicted) * np.where(labels < 5, 1, 50)))
        assert row.statistics.behind is None or row.statistics.behind[1] > -1e-9 or row.statistics.standing.first == 1
    columns = [column for column in usable(board, registered()) if column.key == "objective_value"]
    assert (columns[0].title, columns[0].better) == ("Mean cost", "lower")
    assert table_cells(board, tuple(columns))[0][0].place == 1
    assert all(
        float(line["objective_value"]) == pytest.approx(row.scores[0], rel=1e-6)
        for line, row in zip(csv.DictReader(io.StringIO(made.csv)), board.rows, strict=True)
    )


def test_a_file_for_other_classes_names_the_board(results, tmp_path):
    path = tmp_path / "pond.csv"
    path.write_text("class,prior\ncat,1\n")
    with pytest.raises(UserError, match=r"^embeddings \(split .*\): .*no class 'cat'"):
        _ = leaderboard(results, objective=f"prior={path}").boards


def test_the_command_line_says_it(cli, results, tmp_path):
    done = cli("leaderboard", "--results", str(results), "--out", str(tmp_path / "out"), "--json")
    assert done.code == 0, done.err
    assert {row["objective"] for row in json.loads(done.out)["rows"]} == {"macro"}
    refused = cli("leaderboard", "--results", str(results), "--objective", "median")
    assert (refused.code, "expected macro, micro, shots, prior=FILE or cost=FILE" in refused.err) == (2, True)
