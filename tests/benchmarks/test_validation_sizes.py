"""Worth of more validation images: sets of several sizes and profiles, and the figures of the findings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.grid_points import Points, read_points
from benchmarks.validation_sizes import chosen, settings
from lt_bench.core.errors import UserError

FITTED = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "grid-points-unseen"


def points(there, train_counts, right=None, test=(0.5,)):
    """Points whose validation has these images of each class."""
    labels = np.repeat(np.arange(len(there)), there)
    right = np.ones((len(test), len(labels)), bool) if right is None else right
    return Points("x", [{}] * len(test), right, np.array(test), labels, np.array(train_counts))


def test_sets_have_what_classes_have_and_a_long_tail_is_exact_or_refused():
    train, there = np.array([900, 600, 60, 6]), np.array([0, 500, 100, 30])
    of = settings(points(there, train))
    assert of["up to 50 a class"].tolist() == [0, 50, 50, 30]
    assert of["all"].tolist() == there.tolist()
    assert of["long-tailed, 250"].tolist() == [0, 225, 23, 2]  # 225.2, 22.5 and 2.3 in proportion
    with pytest.raises(UserError, match="where class 1 gives all of its 100"):
        settings(points([0, 100, 100, 30], train))


def test_a_set_chooses_on_its_own_images_with_replacement_and_the_test_accuracy_is_that_of_the_choice():
    """The first point is right on class 0, the second on class 1: which is chosen depends on the classes that validate."""
    right = np.repeat([[True, False], [False, True]], 50, axis=1)
    two = points([50, 50], [9, 1], right, (0.1, 0.9))
    assert chosen(two, np.array([7, 0]), 3).tolist() == [10, 10, 10]
    assert chosen(two, np.array([0, 7]), 3).tolist() == [90, 90, 90]
    half = points([20], [9], np.array([[True] * 12 + [False] * 8, [False] * 12 + [True] * 8]), (0.1, 0.9))
    draws = chosen(half, np.array([20]), 100)  # without replacement the first, right on 12 of 20, would always be chosen
    assert set(draws.tolist()) == {10, 90}


def test_the_figures_of_the_findings():
    los, ncm = (read_points(FITTED / f"{name}.npz") for name in ("los", "ncm"))
    sets = settings(los)
    assert sets["all"].sum() == 10_693
    assert int((sets["all"] == 0).sum()) == 1
    found = {name: chosen(los, sets[name], 200).mean() for name in ("up to 1 a class", "up to 20 a class", "all", "long-tailed, 250")}
    assert found == pytest.approx({"up to 1 a class": 44.22, "up to 20 a class": 44.90, "all": 44.96, "long-tailed, 250": 42.77}, abs=0.01)
    assert chosen(ncm, sets["long-tailed, 250"], 200).mean() == pytest.approx(44.05, abs=0.01)
