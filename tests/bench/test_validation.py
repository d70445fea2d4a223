"""Draws of the validation images: sizes, profiles, choices and what is said of them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from lt_bench.bench.tuned import objective_in, read_tuning
from lt_bench.bench.validation import Validation, choices_of_draws, error_text, standard_error, tied_draws, validation_text
from lt_bench.core.errors import UserError
from lt_bench.features.cache import open_cache
from lt_bench.leaderboard.objective.objective import MACRO, Objective
from lt_bench.results.record import whole_validation
from lt_bench.results.store import Store

LABELS, TRAIN = np.repeat([1, 2, 3], 20), (500, 200, 50, 5)  # nothing of class 0


def counts(validation):
    return [np.bincount(LABELS[rows], minlength=4).tolist() for rows in validation.rows(LABELS, TRAIN)]


def test_draws_have_the_profile_and_the_first_no_image_twice():
    assert counts(Validation(25, "long-tailed", 3)) == [[0, 20, 5, 0]] * 3
    assert Validation(25) == Validation(25, "balanced")
    balanced = counts(Validation(31, "balanced", 20))
    assert {tuple(sorted(one)) for one in balanced} == {(0, 10, 10, 11)}
    assert len({tuple(one) for one in balanced}) > 1  # the odd image falls to any class
    first, *others = Validation(25, "long-tailed", 5).rows(LABELS, TRAIN)
    assert len(set(first.tolist())) == 25
    assert all(len(set(rows.tolist())) < 25 for rows in others)
    assert len({tuple(rows) for rows in (first, *others)}) == 5
    again = Validation(25, "long-tailed", 2).rows(LABELS, TRAIN)
    assert all((one == other).all() for one, other in zip(again, (first, others[0]), strict=True))


def test_all_images_are_resampled_within_classes_after_the_first_draw():
    first, *others = Validation(draws=3).rows(LABELS, TRAIN)
    assert (first == np.arange(60)).all()
    assert counts(Validation(draws=3)) == [[0, 20, 20, 20]] * 3
    assert all(len(set(rows.tolist())) < 60 for rows in others)


def test_the_largest_size_of_a_profile_is_that_which_is_named():
    labels, train = np.repeat([0, 1, 2, 3], [12, 20, 20, 20]), (60, 50, 9, 1)
    assert np.bincount(labels[Validation(24, "long-tailed").rows(labels, train)[0]]).tolist() == [12, 10, 2]  # 12, 10, 1.8 and 0.2
    with pytest.raises(
        UserError, match=r"--val-size 25: there are 72 .* at most 24, where class 0 gives all of its 12; take --val-size 24$"
    ):
        Validation(25, "long-tailed").rows(labels, train)
    assert np.bincount(labels[Validation(48, "balanced").rows(labels, train)[0]]).tolist() == [12] * 4
    with pytest.raises(UserError, match=r"a balanced set of them has at most 48, where class 0"):
        Validation(49, "balanced").rows(labels, train)


def test_the_spread_of_draws_is_that_of_fresh_validation_images():
    """Two heads that are right on 60 and 65 % of the images of any class; a draw takes 18 of the 20 validation images of each of 10 classes."""
    rng, train = np.random.default_rng(0), (5,) * 10
    labels = np.repeat(np.arange(10), 20)

    def difference(rows):
        return right[1][rows].mean() - right[0][rows].mean()

    estimates = []
    for _ in range(40):
        right = rng.random((2, 200)) < np.array([[0.60], [0.65]])
        draws = Validation(180, "balanced", 60).rows(labels, train)[1:]
        estimates.append(np.var([difference(rows) for rows in draws], ddof=1))
    fresh = (0.60 * 0.40 + 0.65 * 0.35) / 180
    assert np.sqrt(np.mean(estimates)) == pytest.approx(np.sqrt(fresh), rel=0.1)  # without replacement it is a third of that


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        (Validation(61), "--val-size 61: there are 60 validation images"),
        (Validation(0), "whole numbers from 1"),
        (Validation(draws=0), "whole numbers from 1"),
        (Validation(profile="long-tailed"), "--val-profile long-tailed is of the images that --val-size draws"),
        (Validation(20, "flat"), "--val-profile flat: expected balanced or long-tailed"),  # type: ignore[arg-type]
        (Validation(profile="balanced"), "--val-profile balanced is of the images"),
    ],
)
def test_images_that_cannot_be_drawn_are_refused(validation, said):
    with pytest.raises(UserError, match=said):
        validation.rows(LABELS, TRAIN)


def test_choices_and_their_standard_error():
    scores = np.array([[0.5, 0.2], [0.5, 0.4], [0.9, 0.9]])
    assert choices_of_draws(scores, MACRO, [True, True, False]) == [0, 1]  # the last diverged
    assert choices_of_draws(scores, Objective("cost", costs=np.ones((2, 2))), [True] * 3) == [0, 0]
    assert standard_error([{"whole": 0.4}, {"whole": 0.5}], [0, 1, 1, 0]) == pytest.approx(np.std([0.4, 0.5, 0.5, 0.4], ddof=1))
    said = {
        "classes_without_validation": ["apple", "bear"],
        "validation": {"images": 1400, "size": 1400, "profile": "long-tailed", "draws": 9, "class_images": [0, 0, 1398, 2]},
    }
    assert validation_text(said) == "1,400 long-tailed validation images, 2 to 1,398 a class, none of apple and 1 more"
    even = {"images": 40, "size": None, "class_images": [20, 20]}
    assert validation_text({"validation": even}) == "all 40 validation images, 20 a class"
    assert {
        *map(whole_validation, ("validation images", "all 40 validation images, 20 a class", "all 9 validation images, 1 to 8 a class"))
    } == {"all validation images"}
    assert whole_validation(validation_text(said)) == validation_text(said)
    assert validation_text({"classes_without_validation": ["apple"]}) == "all validation images, none of apple"
    what = " (spread of the scores of the points that draws choose; not how sure the choice is)"
    assert error_text(0.0042, percent=True) == f"; standard error of the choice 0.42 points{what}"
    assert (error_text(1.234, percent=False), error_text(None, percent=True)) == (f"; standard error of the choice 1.23{what}", "")


def test_a_draw_is_tied_where_the_choice_is_only_first_of_equal_points():
    scores = np.array([[0.5, 0.5, 0.4, 0.5, 0.9], [0.5, 0.3, 0.4, 0.6, 0.1], [0.1, 0.5, 0.9, 0.6, 0.2]])
    allowed = [True, True, True]
    choices = choices_of_draws(scores, MACRO, allowed)
    assert choices == [0, 0, 2, 1, 0]
    assert tied_draws(scores, choices, allowed) == 2  # the fourth ties between others
    assert tied_draws(scores, choices, [True, False, True]) == 1


def test_a_smaller_validation_decides_and_the_board_says_which(cli, small_cache, tmp_path):
    options = ("--strategy", "tau_norm", "--cache", "small", "--accelerator", "cpu")
    done = cli("tune", *options, "--seeds", "0", "--val-size", "20", "--draws", "30")
    assert (done.code, done.err) == (0, "")
    (path,) = (tmp_path / "results" / "tuning").glob("*.json")
    document = json.loads(path.read_text())
    said = document["validation"]
    assert (said["size"], said["images"], sum(said["class_images"]), len(document["choices"])) == (20, 20, 20, 30)
    whole = [point["whole"] for point in document["grid"]]
    assert document["standard_error"] == pytest.approx(np.std([whole[one] for one in document["choices"]], ddof=1))
    assert document["grid"][document["choices"][0]]["hyperparameters"] == document["choice"]
    assert document["command"].endswith("--val-size 20 --val-profile balanced --draws 30")
    assert cli("run", *options, "--tuned").code == 0
    assert cli("leaderboard", "--formats", "markdown").code == 0
    board = (tmp_path / "leaderboard" / "LEADERBOARD.md").read_text()
    points = 100 * document["standard_error"]
    share = (document["choices"].count(document["choices"][0]) - document["tied"]) / 30
    assert (
        f"Tuned: chosen on {validation_text(document)} (rows: 1); chosen alone in {100 * share:.0f} % of redrawn validation sets; standard error of the choice {points:.2f} points ("
        in board
    )
    assert cli("leaderboard", "--formats", "csv").code == 0
    (line,) = csv.DictReader((tmp_path / "leaderboard" / "leaderboard.csv").open())
    assert float(line["choice_error"]) == pytest.approx(points, rel=1e-3)
    assert float(line["alone_best"]) == pytest.approx(100 * share, abs=0.5)
    (record,) = Store(tmp_path / "results").records()
    assert record.tuning.standard_error == document["standard_error"]
    refused = cli("tune", *options, "--val-size", "100000")
    assert (refused.code, "--val-size 100000" in refused.err) == (2, True)
    refused = cli("tune", *options, "--val-profile", "long-tailed")
    assert (refused.code, refused.err.count("\n"), "name their number" in refused.err) == (2, 1, True)


def test_shots_decide_from_the_command_line_to_the_board(cli, small_cache, tmp_path):
    """A long-tailed validation set chooses by groups, the record and the board say so, and what is read back weighs as what decided."""
    options = ("--strategy", "tau_norm", "--cache", "small", "--accelerator", "cpu")
    done = cli("tune", *options, "--seeds", "0", "--objective", "shots", "--val-size", "12", "--val-profile", "long-tailed")
    assert done.code == 0, done.err
    assert "leave their weight to their group" in done.out
    (path,) = (tmp_path / "results" / "tuning").glob("*.json")
    document = read_tuning(path)
    assert " --objective shots --val-size 12 --val-profile long-tailed" in document["command"]
    cache = open_cache(small_cache)
    labels, train = cache.split("val").labels.numpy(), np.array(cache.manifest.dataset.train_counts)
    rows = Validation(12, "long-tailed").deciding(labels, train)
    counts = np.bincount(labels[rows], minlength=len(train))
    assert document["validation"]["class_images"] == counts.tolist()
    groups = [np.where(train > 100, 0, np.where(train < 20, 2, 1)) == place for place in range(3)]
    weights = objective_in(document).class_weights(counts)
    shares = {place: group.mean() for place, group in enumerate(groups) if counts[group].any()}
    assert len(shares) > 1
    assert document["classes_without_validation"]
    for place, share in shares.items():
        assert weights[groups[place]].sum() >= share - 1e-12  # its own, and that of a group without images
    assert weights.sum() == pytest.approx(1)
    assert cli("run", *options, "--tuned").code == 0
    (record,) = Store(tmp_path / "results").records()
    assert record.tuning.objective == "shots"
    assert "tuned on val by shots" in cli("leaderboard", "--objective", "shots", "--show", "objective_value,tuning").out
