"""Remarks on how settled the choice of a tuning is."""

import pytest

from lt_bench.bench.settled import share_alone_best, share_text
from lt_bench.bench.tuned import openness_of_choice, points_drawn_among
from lt_bench.bench.tuning.tune import _choices
from lt_bench.leaderboard.objective.objective import MACRO


def document(scores, **more):
    grid = [{"hyperparameters": {"lr": lr, "decay": 0.1}, "macro_accuracy": [value], "mean": value} for lr, value in scores.items()]
    best = max(grid, key=lambda point: point["mean"])
    return {"grid": grid, "choice": best["hyperparameters"], "macro_accuracy": best["mean"], "validation": {}, **more}


TWO = {1.0: 0.6, 0.5: 0.55, 0.1: 0.3, 0.01: 0.2}


def test_the_other_points_that_draws_choose_are_named():
    even = document(TWO, choices=[0] * 51 + [1] * 49, tied=0)
    assert openness_of_choice(even) == [
        "chosen in 51 of 100 draws of validation images; lr 0.5 in 49: these images do not settle the choice"
    ]
    lost = document(TWO, choices=[0] * 27 + [1] * 32 + [2] * 31 + [3] * 10, tied=0)
    assert openness_of_choice(lost) == [
        "chosen in 27 of 100 draws of validation images; lr 0.5 in 32, lr 0.1 in 31, 1 other point in 10: these images do not settle the choice"
    ]
    sure = document(TWO, choices=[0] * 96 + [1] * 4, tied=1)
    assert openness_of_choice(sure) == [
        "chosen in 96 of 100 draws of validation images, in 1 of them tied with others and first in the grid; lr 0.5 in 4"
    ]
    assert openness_of_choice(document(TWO, choices=[0] * 100, tied=0)) == ["chosen in 100 of 100 draws of validation images"]


def test_points_that_tie_are_said_and_a_tie_is_never_settled():
    tie = {1.0: 0.6, 0.5: 0.6, 0.1: 0.6, 0.01: 0.2}
    said = openness_of_choice(document(tie, choices=[0] * 100, tied=100))
    assert said == [
        "3 points tie at 60.00 %: the first is taken; lr 0.5, lr 0.1 score the same",
        "chosen in 100 of 100 draws of validation images, in 100 of them tied with others and first in the grid: these images do not settle the choice",
    ]
    once = openness_of_choice(document(tie))
    assert once == [said[0], "validation images were drawn once, so nothing says how settled the choice is"]
    unstable = document(tie, choices=[0] * 100, tied=0)
    unstable["grid"][1]["repeats"], unstable["grid"][2]["health"] = False, ["diverged"]
    assert openness_of_choice(unstable) == ["chosen in 100 of 100 draws of validation images"]


@pytest.mark.parametrize(("groups", "said"), [(7, "these images come in 7 groups"), (None, "these images come in groups")])
def test_images_of_groups_that_draws_take_apart(groups, said):
    lines = openness_of_choice(document(TWO, choices=[0] * 100, tied=0, validation={"groups": groups}))
    assert lines[1].startswith(f"{said}, and draws take them one by one: images of a group are alike")


def test_points_may_lack_hyperparameters_of_each_other():
    given = document(TWO, choices=[0] * 60 + [1] * 40, tied=0)
    given["grid"][1]["hyperparameters"] = {"lr": 1.0, "epsilon": 0.5}
    assert "; lr" not in openness_of_choice(given)[0]
    assert "; epsilon 0.5 no decay in 40:" in openness_of_choice(given)[0]


def test_draws_leave_out_points_that_do_not_repeat():
    tried = [dict(point, whole=point["mean"]) for point in document({1.0: 0.6, 0.5: 0.55})["grid"]]
    scores = [[[0.6] * 100], [[0.55] * 100]]
    assert _choices(scores, tried, MACRO)["choices"] == [0] * 100
    tried[0]["repeats"] = False
    assert _choices(scores, tried, MACRO) == {"choices": [1] * 100, "tied": 0, "standard_error": 0.0}


def test_the_share_of_draws_without_a_tie():
    assert share_alone_best(document(TWO, choices=[0] * 51 + [1] * 49, tied=1)) == 0.5
    assert share_alone_best(document(TWO, choices=[0] * 3 + [1])) is None  # it does not say which draws tie
    assert share_alone_best(document(TWO)) is None
    assert (share_text(0.504), share_text(None)) == ("; chosen alone in 50 % of redrawn validation sets", "")


def test_a_budget_that_covers_the_grid_drew_nothing():
    assert points_drawn_among(document(TWO)) is None
    assert points_drawn_among(document(TWO, budget={"points": 9, "of": 4})) is None
    assert points_drawn_among(document(TWO, budget={"points": 4, "of": 9})) == 9
