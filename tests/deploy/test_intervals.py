"""Intervals of an evaluation against exact ones, and against samples drawn from a known truth."""

import tracemalloc

import numpy as np
import pytest
import torch

from lt_bench.deploy import intervals
from lt_bench.deploy.intervals import Predicted, accuracy_ends, calibration_ends
from lt_bench.leaderboard.stats.shares import exact_interval
from lt_bench.metrics.calibration import CalibrationError

rng = np.random.default_rng(0)


def drawn(N, sure, seed):
    """Predictions that are right with probability 0.7 and say so on average, but for ``sure`` more."""
    generator = np.random.default_rng(seed)
    return Predicted(np.clip(0.7 + sure + generator.normal(0, 0.1, N), 0.01, 1), generator.random(N) < 0.7)


def test_accuracy_has_the_exact_interval_and_macro_that_of_the_classes_with_inputs():
    labels = np.repeat([0, 1], [40, 8])
    predicted = np.where(np.arange(48) % 8 == 0, 2, labels)
    ends = accuracy_ends(labels, predicted, 4, [200, 50, 10, 5], None)
    assert ends["accuracy"] == pytest.approx([float(end) for end in exact_interval(42 / 48, 48)])
    assert ends["accuracy"] == pytest.approx((0.7475, 0.9527), abs=1e-4)
    low, high = ends["macro_accuracy"]
    assert low < 0.875 < high
    assert high - low > ends["accuracy"][1] - ends["accuracy"][0]  # eight images are half of it
    assert set(ends) == {"accuracy", "macro_accuracy", "many", "medium"}
    assert ends["medium"] == pytest.approx([float(end) for end in exact_interval(7 / 8, 8)])
    assert accuracy_ends(labels[:4], labels[:4], 4, None, None)["macro_accuracy"] == pytest.approx((0.3976, 1.0), abs=1e-4)


def test_groups_of_equal_inputs_leave_as_many_as_there_are_groups():
    labels, right = np.repeat([0, 1], 100), np.repeat(rng.random(20) < 0.6, 10)
    groups = np.repeat(np.arange(20).astype(str), 10)
    alone, together = (accuracy_ends(labels, np.where(right, labels, 2), 3, None, of)["accuracy"] for of in (None, groups))
    assert together[0] < alone[0]
    assert alone[1] < together[1]
    assert 2.5 < (together[1] - together[0]) / (alone[1] - alone[0]) < 4


def test_the_error_is_that_of_the_metric():
    one, metric = drawn(500, 0.1, 1), CalibrationError()
    metric.update(torch.from_numpy(one.confidence), torch.from_numpy(one.correct))
    assert one.error == pytest.approx(float(metric.compute()))


@pytest.mark.parametrize("inputs_of_a_group", [1, 4])
def test_a_drawn_sample_has_each_group_as_often_as_it_was_drawn(inputs_of_a_group):
    unit = rng.permutation(np.arange(400) // inputs_of_a_group)
    after = drawn(400, 0.0, 1)
    before = Predicted(np.clip(after.confidence + 0.15, 0, 1), rng.random(400) < 0.6)
    draws = rng.integers(0, 4, (5, 400 // inputs_of_a_group))
    for difference, times in zip(intervals._drawn_differences(before, after, unit, draws), draws, strict=True):
        several = [Predicted(*(np.repeat(values, times[unit]) for values in (one.confidence, one.correct))) for one in (before, after)]
        assert difference == pytest.approx(several[1].error - several[0].error, abs=1e-12)


def test_no_two_drawn_samples_are_held_at_once():
    N = 20_000
    before, after = drawn(N, 0.1, 1), drawn(N, 0.0, 2)
    calibration_ends(before, after, None)  # what is imported at first use is not counted
    tracemalloc.start()
    calibration_ends(before, after, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25 * 8 * N  # of 200 samples


def test_the_difference_of_two_calibration_errors_has_the_spread_of_fresh_samples():
    def pair(seed):
        after = drawn(2000, 0.0, seed)
        return Predicted(np.clip(after.confidence + 0.15, 0, 1), after.correct), after

    differences = [after.error - before.error for before, after in map(pair, range(200))]
    low, high = calibration_ends(*pair(1000), None)
    assert high < 0
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(differences), rel=0.25)
    before, after = pair(7)
    groups = np.arange(2000) // 4
    fours = [Predicted(one.confidence[groups * 4], one.correct[groups * 4]) for one in (before, after)]
    alone, together = calibration_ends(*fours, None), calibration_ends(*fours, groups)
    assert (together[1] - together[0]) / (alone[1] - alone[0]) == pytest.approx(2, rel=0.25)
    assert calibration_ends(*fours, np.zeros(2000)) is None
