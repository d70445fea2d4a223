"""The nested choice: honest where there is nothing to learn, and what is said of strategies, against figures counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lt_bench.leaderboard.choice.conclusion import HeldOut, conclusion, sentences
from lt_bench.leaderboard.choice.nested import FAILED, Candidate, nested_choice
from lt_bench.leaderboard.objective.objective import MACRO, MICRO

K, F = 4, 5


def candidate(name, *points, seeds=None):
    """A strategy whose points predict (N,) each, the same whatever is left out."""
    return Candidate(name, [{"point": number} for number in range(len(points))], seeds, np.stack(points)[:, None, None])


def test_the_estimate_is_honest_on_pure_noise():
    rng, estimates, best = np.random.default_rng(0), [], []
    fold = np.arange(100) % F
    for _ in range(60):
        labels = rng.permutation(np.arange(100) % K)
        guesses = [candidate(name, *rng.integers(0, K, (20, 100))) for name in "ab"]
        choice = nested_choice(guesses, fold, labels, K, MACRO)
        estimates.append(MACRO.value(labels, choice.predictions[0], K))
        best.append(choice.tuned[0].values.max())
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - 1 / K) < 3 * error < 0.03  # each estimate is of chance
    assert np.mean(best) > 1 / K + 0.08  # a choice on the same rows seems to be more


def test_a_fold_is_predicted_by_the_choice_of_the_others():
    fold, labels = np.arange(30) % 3, np.zeros(30, np.int64)
    # Point k is right but on fold k: without fold k it is the best, and on that fold it is wrong.
    points = [np.where(fold == k, 1, 0) for k in range(3)]
    choice = nested_choice([candidate("a", *points)], fold, labels, 2, MICRO)
    assert choice.tuned[0].by_fold == [0, 1, 2]
    assert MICRO.value(labels, choice.predictions[0], 2) == 0
    assert choice.tuned[0].values == pytest.approx([2 / 3] * 3)


def test_predictions_without_two_folds_choose_and_those_without_one_are_measured():
    fold, labels = np.arange(9) % 3, np.zeros(9, np.int64)
    predictions = np.full((2, 1, 3, 9), 1)
    predictions[1, 0][fold[None] != np.arange(3)[:, None]] = 0  # heads without two folds: point 1 is right
    predictions[0, 0][fold[None] == np.arange(3)[:, None]] = 0  # heads without one fold: point 0 is
    one = Candidate("a", [{}, {}], None, predictions)
    choice = nested_choice([one, candidate("b", np.arange(9) % 2)], fold, labels, 2, MICRO)
    assert choice.by_fold == ["a", "a", "a"]  # of heads without two folds it is right everywhere
    assert [one.candidate.name for one in choice.tuned] == ["b", "a"]  # of heads without one, what is chosen is wrong everywhere
    choice = nested_choice([one], fold, labels, 2, MICRO)
    assert (choice.tuned[0].by_fold, choice.tuned[0].best) == ([1, 1, 1], 0)
    assert choice.tuned[0].values == pytest.approx([1.0, 0.0])
    assert (choice.predictions == 1).all()


def test_a_point_of_which_a_fit_diverged_is_not_there():
    labels = np.arange(12) % 2
    one = candidate("a", np.where(np.arange(12) == 3, FAILED, labels), 1 - labels).converged
    assert one.points == [{"point": 1}]
    assert (one.predictions == 1 - labels).all()
    assert not candidate("a", np.full(12, FAILED)).converged.points


def test_many_points_are_no_advantage_and_the_order_is_that_of_what_is_shown():
    rng, good, by_best_point = np.random.default_rng(3), 0, 0
    labels, fold = np.arange(200) % K, np.arange(200) // K % F
    on = HeldOut(labels, np.full(K, 50), list("abcd"), MICRO)
    for _ in range(40):
        guesses = rng.integers(0, K, (31, 200))
        candidates = [candidate("many", *guesses[1:]), candidate("good", np.where(rng.random(200) < 0.08, labels, guesses[0]))]
        choice = nested_choice(candidates, fold, labels, K, MICRO)
        by_best_point += max(choice.tuned, key=lambda one: one.values[one.best]).candidate.name == "good"
        document = conclusion(choice, on)
        lines, take = document["strategies"], document["take"]["strategy"]
        good += take == "good"
        assert take == lines[0]["strategy"]
        assert lines[0]["value"] >= lines[1]["value"]
        assert document["not_told_apart"] == [one["strategy"] for one in lines[1:] if not one["told_apart"]]
    assert good > 30
    assert by_best_point < 20


def long_tailed():
    """240 held-out rows of K classes; a strategy that is right on the large ones, one that is on all to 75 %, and one nearly as good."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(K), (160, 50, 20, 10))
    large = np.where((labels < 2) | (rng.random(240) < 0.05), labels, 0)
    even, beside = (np.where(rng.random(240) < share, labels, (labels + 1) % K) for share in (0.75, 0.7))
    return labels, [candidate("large", large), candidate("even", even), candidate("beside", beside)]


def concluded(objective):
    labels, candidates = long_tailed()
    fold = np.random.default_rng(2).permutation(240) % F
    on = HeldOut(labels, np.array([500, 120, 15, 8, 3]), [*"abcd", "nothing"], objective)
    return conclusion(nested_choice(candidates, fold, labels, K + 1, objective), on)


def test_macro_does_not_take_what_abandons_rare_classes():
    macro, micro = concluded(MACRO), concluded(MICRO)
    assert (macro["take"]["strategy"], micro["take"]["strategy"]) == ("even", "large")
    assert macro["not_told_apart"] == ["beside"]
    assert macro["held_out"] == {"images": 240, "classes": 4, "few_images": 30, "few_classes": 2}
    assert macro["not_estimated"] == ["nothing"]
    behind = {one["strategy"]: one for one in macro["strategies"]}["large"]
    assert behind["p"] < 0.05
    assert behind["behind_interval"][0] > 0
    # The classes with few held-out images carry the variance of a macro difference.
    assert macro["would_decide"][0]["class"] == "d"
    said = " ".join(sentences(macro, MACRO))
    assert said.startswith("Take even with point 0. Expect macro accuracy of ")
    assert f"measured on that fold; {macro['strategies'][0]['folds']} of 5 took even." in said
    assert "on your 240 held-out images, 30 of them of rare classes (2 classes with fewer than 20 training images): beside." in said
    assert "without a held-out image: nothing" in said


def test_figures_are_those_of_the_predictions():
    labels, candidates = long_tailed()
    for one in concluded(MACRO)["strategies"]:
        predicted = next(other for other in candidates if other.name == one["strategy"]).predictions[0, 0, 0]
        recall = [np.mean(predicted[labels == k] == k) for k in range(K)]
        assert one["value"] == pytest.approx(np.mean(recall))
        assert one["groups"]["few"]["value"] == pytest.approx(np.mean(recall[2:]))
        assert one["interval"][0] < one["value"] < one["interval"][1]


def test_equal_strategies_are_rarely_told_apart():
    rng, told = np.random.default_rng(1), 0
    labels, fold = np.arange(200) % K, np.arange(200) // K % F
    on = HeldOut(labels, np.full(K, 50), list("abcd"), MICRO)
    for _ in range(150):
        equal = [candidate(f"s{number}", np.where(rng.random(200) < 0.6, labels, (labels + 1) % K)) for number in range(8)]
        document = conclusion(nested_choice(equal, fold, labels, K, MICRO), on)
        told += len(document["not_told_apart"]) < 7
    assert told <= 13  # 5 % of 150, and two standard errors
