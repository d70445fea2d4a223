"""The objective: what it measures, which one is the default, and what its files may say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lt_bench.bench.tuned import objective_in
from lt_bench.core.errors import UserError
from lt_bench.leaderboard.objective.objective import MACRO, MICRO, Objective, explained, imbalanced, objective_of

NAMES = ("cat", "dog", "emu")
LABELS = np.repeat([0, 1], [6, 2])  # no test image of an emu
PREDICTED = np.array([0, 0, 0, 0, 0, 1, 1, 2])
TRAIN = np.array([9, 30, 5])
COUNTS = np.array([6, 2, 0])


def of(tmp_path, kind, text, suffix=".csv"):
    path = tmp_path / f"table{suffix}"
    path.write_text(text, encoding="utf-8")
    return objective_of(f"{kind}={path}", NAMES, TRAIN)


def value(objective):
    return objective.value(LABELS, PREDICTED, 3)


def test_values_by_hand(tmp_path):
    assert value(MICRO) == pytest.approx(6 / 8)
    assert value(MACRO) == pytest.approx((5 / 6 + 1 / 2) / 2)
    prior = of(tmp_path, "prior", "class,prior\ndog,3\ncat,1\nemu,4\n")  # the emu's half is left out
    assert value(prior) == pytest.approx(0.25 * 5 / 6 + 0.75 / 2)
    assert prior.unknown_share(COUNTS) == pytest.approx(0.5)
    assert prior.weights(LABELS, 3).sum() == pytest.approx(1)
    by_class = of(tmp_path, "cost", "class,cost\ncat,1\ndog,10\nemu,0\n")
    assert value(by_class) == pytest.approx((1 + 10) / 8)
    matrix = of(tmp_path, "cost", "true,dog,cat,emu\ncat,2,0,5\nemu,0,1,0\ndog,0,1,7\n")  # another order of the classes
    assert value(matrix) == pytest.approx((2 + 7) / 8)
    assert value(of(tmp_path, "cost", "0,2,5\n1,0,7\n1,0,0\n")) == pytest.approx((2 + 7) / 8)
    assert (matrix.lower, MACRO.lower, matrix.worst, MACRO.worst) == (True, False, 7.0, 0.0)


def test_json_numbers_of_classes_and_a_byte_order_mark(tmp_path):
    wanted = [0.5, 0.25, 0.25]
    for text, suffix in (
        (json.dumps({"cat": 2, "dog": 1, "emu": 1}), ".json"),
        (json.dumps({"0": 2, "1": 1, "2": 1}), ".json"),
        ("\ufeffClass, Prior\n0, 2\n\n1,1\n2,1\n", ".csv"),
    ):
        prior = of(tmp_path, "prior", text, suffix).prior
        assert prior is not None
        assert prior.tolist() == wanted


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("prior", "class,prior\ncat,1\ndgo,1\nemu,1\n", "no class 'dgo' (did you mean 'dog'?)"),
        ("prior", "class,prior\ncat,1\ndog,1\n", "nothing for class 'emu'; every class needs a line"),
        ("prior", "class,prior\ncat,1\ncat,1\ndog,1\nemu,1\n", "class 'cat' stands twice"),
        ("prior", "class,prior\ncat,1\ndog,-1\nemu,1\n", "'-1' is no number from 0"),
        ("prior", "class,prior\ncat,0\ndog,0\nemu,0\n", "every prior is 0"),
        ("prior", "cat,1\ndog,1\nemu,1\n", "the first line is 'cat,1', expected class,prior"),
        ("prior", "class,prior\ncat\ndog,1\nemu,1\n", "line 2 has 1 cells"),
        ("cost", "0,1\n1,0\n", "2 lines of up to 2 cells, expected 3 by 3 costs"),
        ("cost", "0,1,nan\n1,0,1\n1,1,0\n", "'nan' is no number from 0"),
        ("cost", "0,0,0\n0,0,0\n0,0,0\n", "every cost is 0"),
    ],
)
def test_files_that_do_not_fit_are_one_line(tmp_path, kind, text, said):
    with pytest.raises(UserError) as error:
        of(tmp_path, kind, text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["accuracy", "prior", "cost=", "prior=nowhere.csv", "macro=x.csv"])
def test_what_is_no_objective_is_refused(text):
    with pytest.raises(UserError, match="--objective"):
        objective_of(text, NAMES, TRAIN)


def test_the_default_follows_the_test_set():
    for counts, imbalance in (
        ([20, 20], False),
        ([30, 20], False),
        ([31, 20], True),
        ([0, 5, 5], False),
        ([594, 3], True),
        ([0, 0], False),
    ):
        assert imbalanced(np.array(counts)) is imbalance
        assert objective_of(None, NAMES, TRAIN, np.array(counts)).kind == ("macro" if imbalance else "micro")
    assert objective_of("micro", NAMES, TRAIN, np.array([594, 3])).kind == "micro"
    assert objective_of(None, NAMES, TRAIN).kind == "micro"
    said = explained(MACRO, np.array([594, 3, 0]))
    assert said.endswith("; 3 to 594 test images a class, an imbalanced test set; classes without test images, which do not count: 1 of 3")
    assert "100 test images in each class" in explained(MICRO, np.array([100, 100]))


def test_of_a_balanced_set_micro_is_macro():
    labels, predicted = np.repeat([0, 1, 2], 5), np.random.default_rng(0).integers(0, 3, 15)
    assert MICRO.value(labels, predicted, 3) == pytest.approx(MACRO.value(labels, predicted, 3), abs=1e-15)


def test_a_prior_of_nothing_that_was_tested_is_refused():
    with pytest.raises(UserError, match="no class with images has a weight"):
        Objective("prior", "x.csv", prior=np.array([0.0, 0.0, 1.0])).weights(LABELS, 3)


def test_long_tails_follow_the_order_of_the_training_images():
    forward = objective_of("prior=forward:16", NAMES, TRAIN).prior  # 30, 9 and 5 training images: dog, cat, emu
    assert forward == pytest.approx(np.array([4, 16, 1]) / 21)
    assert objective_of("prior=backward:16", NAMES, TRAIN).prior == pytest.approx(np.array([4, 1, 16]) / 21)
    assert objective_of("prior=forward:9", NAMES, np.array([5, 5, 5])).prior == pytest.approx(np.array([9, 3, 1]) / 13)
    for text in ("prior=forward:0.5", "prior=sideways:50"):
        with pytest.raises(UserError, match=f"--objective {text}"):
            objective_of(text, NAMES, TRAIN)


def test_by_shots_the_tail_keeps_its_share_of_the_classes():
    """Ten classes: 2 many, 3 medium, 5 few, of which two have images; against a mean of means in plain Python."""
    train = np.array([500, 101, 100, 50, 20, 19, 10, 9, 5, 2])
    counts = np.array([40, 10, 0, 5, 3, 2, 0, 1, 0, 0])
    labels = np.repeat(np.arange(10), counts)
    predicted = np.random.default_rng(3).integers(0, 10, len(labels))
    predicted[::2] = labels[::2]
    shots = objective_of("shots", tuple(map(str, range(10))), train)
    accuracy = {k: float(np.mean(predicted[labels == k] == k)) for k in range(10) if counts[k]}
    wanted, groups = 0.0, {"many": (0, 1), "medium": (2, 3, 4), "few": (5, 6, 7, 8, 9)}
    for classes in groups.values():
        shown = [accuracy[k] for k in classes if k in accuracy]
        wanted += len(classes) / 10 * sum(shown) / len(shown)
    assert shots.value(labels, predicted, 10) == pytest.approx(wanted, abs=1e-12)
    assert abs(wanted - MACRO.value(labels, predicted, 10)) > 0.01
    assert shots.class_weights(counts).tolist() == pytest.approx([0.1, 0.1, 0, 0.15, 0.15, 0.25, 0, 0.25, 0, 0])
    said = explained(shots, counts, "validation")
    assert said.endswith("which leave their weight to their group: 4 of 10 (medium: images of 2 of 3, few: images of 2 of 5)")
    no_few = np.where(train < 20, 0, counts)
    assert shots.class_weights(no_few).tolist() == pytest.approx([0.1, 0.1, 0, 0.4, 0.4, 0, 0, 0, 0, 0])
    assert "few: of none of 5, whose weight medium has" in explained(shots, no_few)
    few_alone = np.where(train < 20, counts, 0)
    assert shots.class_weights(few_alone).tolist() == pytest.approx([0, 0, 0, 0, 0, 0.5, 0, 0.5, 0, 0])
    ends = np.where((train > 100) | (train < 20), counts, 0)
    assert shots.class_weights(ends).tolist() == pytest.approx([0.1, 0.1, 0, 0, 0, 0.4, 0, 0.4, 0, 0])  # the rarer of two neighbours
    everything = np.repeat(np.arange(10), 3)
    assert shots.weights(everything, 10).tolist() == pytest.approx(MACRO.weights(everything, 10).tolist())
    again = objective_in({"objective": json.loads(json.dumps(shots.identity))})
    assert (again.digest, again.class_weights(counts).tolist()) == (shots.digest, shots.class_weights(counts).tolist())
