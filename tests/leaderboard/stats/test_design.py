"""Intervals and tests of weighted objectives, on simulated test sets whose truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from lt_bench.leaderboard.objective.objective import MACRO, MICRO, Objective
from lt_bench.leaderboard.stats.clustered import design_of
from lt_bench.leaderboard.stats.design import Design
from lt_bench.leaderboard.stats.paired import compare_all
from lt_bench.leaderboard.stats.shares import (
    drawn_variance,
    exact_interval,
    group_intervals,
    objective_intervals,
    paired_intervals,
    student_intervals,
)
from lt_bench.metrics.groups import shot_groups

SIZES = np.array([200, 60, 20, 8, 5, 3, 3, 3, 2, 2, 1, 1])
K = len(SIZES)
LABELS = np.repeat(np.arange(K), SIZES)


def compared(outcomes, objective, seeds=None):
    tests = compare_all(outcomes, seeds or [None] * len(outcomes), None, Design.of(objective, LABELS, K))
    return float(tests.difference[0, 1]), float(tests.error[0, 1]), float(tests.p[0, 1])


def test_the_variance_of_macro_accuracy_is_that_within_classes():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 1, len(LABELS))) < 0.6
    difference, error, _ = compared([first, second], MACRO)
    D = first[0].astype(float) - second[0]
    assert difference == pytest.approx(np.mean([D[k == LABELS].mean() for k in range(K)]))
    alone = D[np.isin(LABELS, np.flatnonzero(SIZES == 1))]  # two classes of one image are one stratum
    variance = sum(D[k == LABELS].var(ddof=1) / SIZES[k] for k in range(K) if SIZES[k] > 1) + len(alone) * alone.var(ddof=1)
    assert error == pytest.approx(np.sqrt(variance) / K)
    assert compared([first, second], MICRO)[1] == pytest.approx(stats.sem(D))


def test_a_single_class_of_one_image_joins_the_smallest_other():
    design = Design.within_classes(np.full(8, 1 / 8), np.array([0, 0, 0, 1, 2, 2, 2, 2]))
    assert sorted(design.sizes) == [4, 4]
    assert design.strata[3] == design.strata[0] != design.strata[4]


@pytest.mark.parametrize("seeds", [1, 3])
def test_true_ties_in_macro_accuracy_are_called_different_at_most_as_often_as_stated(seeds):
    """Two rows of equal macro accuracy, one better on large classes and one on small ones: micro accuracy tells them apart."""
    rng = np.random.default_rng(1)
    tilt = np.where(np.arange(K) < K // 2, 0.1, -0.1)[LABELS]
    macro, micro, trials = 0, 0, 600
    for _ in range(trials):
        rows = [rng.random((seeds, len(LABELS))) < chance for chance in (0.5 + tilt, 0.5 - tilt)]
        numbered = None if seeds == 1 else [list(range(seeds))] * 2
        macro += compared(rows, MACRO, numbered)[2] < 0.05
        micro += compared(rows, MICRO, numbered)[2] < 0.05
    assert macro / trials < 0.05 + 4 * np.sqrt(0.05 * 0.95 / trials)
    assert seeds > 1 or macro / trials > 0.005  # three seeds of two rows leave open what seeds do, so that chance seldom passes
    assert micro / trials > 0.5


@pytest.mark.parametrize("chance", [np.linspace(0.9, 0.3, K), np.linspace(0.6, 0.98, K), np.full(K, 0.5)])
def test_intervals_of_accuracies_cover_them(chance):
    rng, trials = np.random.default_rng(2), 600
    right = rng.binomial(SIZES, chance, (trials, K))
    for objective, truth in ((MACRO, chance.mean()), (MICRO, chance @ SIZES / SIZES.sum())):
        worth = np.repeat((right.sum(1) / SIZES.sum())[:, None], len(LABELS), 1)
        ends = objective_intervals(worth, right / SIZES, SIZES, objective, Design.of(objective, LABELS, K))
        covered = np.mean([low <= truth <= high for low, high in ends])
        assert 0.93 < covered < 0.995
    assert np.mean([high - low for low, high in ends]) < 0.13  # of micro; nor are they too wide


def test_intervals_of_differences_and_of_costs_are_student_s_where_images_are_many():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(3), 2000)
    worth = (rng.random((2, len(labels))) < 0.6).astype(float)
    for objective in (MACRO, MICRO):
        ((low, high),) = student_intervals(worth[1:] - worth[:1], Design.of(objective, labels, 3))
        wanted = stats.ttest_1samp(worth[1] - worth[0], 0.0).confidence_interval(0.95)
        assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=2e-4)


def test_an_interval_of_costs_moves_with_them_and_stays_among_them():
    labels, predictions = np.repeat([0, 1], 6), np.repeat([[0, 1], [1, 0], [0, 0]], 6, axis=1)
    design = Design.of(MICRO, labels, 2)
    plain, moved = (Objective("cost", costs=np.array([[0.0, 3.0], [1.0, 0.0]]) + more) for more in (0.0, 7.0))
    ends = [
        np.array(objective_intervals(one.of_images(labels, predictions), np.zeros((3, 2)), np.full(2, 6), one, design))
        for one in (plain, moved)
    ]
    assert ends[1] - 7 == pytest.approx(ends[0])
    assert all(0 <= low < high <= 3 for low, high in ends[0])


def test_differences_of_one_class_are_those_of_bonett_and_price():
    for won, lost, n in ((0, 0, 3), (2, 0, 3), (3, 1, 20)):
        outcome = np.repeat([1.0, -1.0, 0.0], [won, lost, n - won - lost])
        low, high = paired_intervals(outcome, np.zeros(n, int), 2)
        up, down = (won + 1) / (n + 2), (lost + 1) / (n + 2)
        half = stats.norm.ppf(0.975) * np.sqrt((up + down - (up - down) ** 2) / (n + 2))
        assert (low[0], high[0]) == pytest.approx((max(up - down - half, -1), min(up - down + half, 1)))
        assert (low[1], high[1]) == (-1.0, 1.0)  # nothing is known


@pytest.mark.parametrize("grouped", [False, True])
def test_classes_whose_few_images_all_agree_have_a_variance(grouped):
    few = np.repeat(np.arange(4), 3)
    design = design_of(MACRO, few, 4, np.arange(12) if grouped else None)
    for outcome in (np.zeros(12), np.repeat([1.0, 0, 0, 0], 3)):
        variance, degrees = drawn_variance(outcome[None], design)
        assert 0.02**2 < variance[0] < 0.3**2
        assert degrees[0] >= 4
    assert drawn_variance(outcome[None], design, 5.0)[0] > variance


@pytest.mark.parametrize("objective", [MACRO, MICRO])
@pytest.mark.parametrize("grouped", [False, True])
def test_pairs_have_the_variance_of_their_interval(objective, grouped):
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(5), (40, 9, 3, 2, 1))
    design = design_of(objective, labels, 5, np.arange(len(labels)) // 2 if grouped else None)
    worth = (rng.random((6, len(labels))) < 0.6).astype(float)
    worth[5] = worth[4]  # one that is another
    tests = compare_all(list(worth[:, None]), [None] * 6, None, design, objective.span)
    for i, j in itertools.permutations(range(6), 2):
        (variance,), _ = drawn_variance(worth[[i]] - worth[[j]], design, objective.span)
        plain = compare_all(list(worth[[i, j], None]), [None] * 2, None, design).error[0, 1]
        assert tests.error[i, j] == pytest.approx(max(np.sqrt(variance), plain), abs=1e-9)
    assert tests.p[4, 5] == 1.0


def test_two_images_that_agree_are_not_taken_for_certain():
    labels = np.repeat([0, 1], (60, 2))
    one = np.tile([1.0, 0.0], 31)
    other = one.copy()
    one[60:], other[60:] = 1.0, 0.0
    design = Design.of(MACRO, labels, 2)
    as_they_are, widened = (compare_all([one[None], other[None]], [None] * 2, None, design, reach).p[0, 1] for reach in (0.0, 1.0))
    assert as_they_are == 0.0
    assert widened == pytest.approx(0.0119, abs=1e-4)


def test_differences_on_rare_classes_that_seldom_change_are_covered():
    """By Student's t with the variance of each class as it is, 64 and 82 %."""
    rng, counts = np.random.default_rng(5), np.maximum(1, 200 ** (1 - np.arange(50) / 49)).astype(int)
    labels = np.repeat(np.arange(50), counts)
    design = Design.of(MACRO, labels, 50)
    for usual, least in ((0.003, 0.95), (0.02, 0.95)):
        rate = rng.gamma(1.0, usual, (300, 50)).clip(0, 0.9)
        changed = rng.random((300, len(labels))) < rate[:, labels]
        outcome = changed * np.where(rng.random(changed.shape) < 0.9, 1.0, -1.0)
        ends = student_intervals(outcome, design)
        assert np.mean([low <= truth <= high for (low, high), truth in zip(ends, 0.8 * rate.mean(1), strict=True)]) >= least


def test_exact_intervals_are_those_of_scipy():
    for right, n in ((0, 7), (3, 14), (7, 7), (1, 1)):
        wanted = stats.binomtest(right, n).proportion_ci(0.95, "exact")
        assert [float(end) for end in exact_interval(right / n, n)] == pytest.approx([wanted.low, wanted.high])
    assert all(np.isnan(end) for end in exact_interval(np.nan, 0))


def test_group_intervals_cover_and_are_never_a_point():
    groups = shot_groups(np.where(np.arange(K) < 4, 500, 10))
    few = np.arange(K) >= 4
    rng, covered, trials = np.random.default_rng(4), 0, 400
    chance = np.where(few, np.linspace(0.2, 0.7, K), 0.9)
    for low, high in group_intervals(rng.binomial(SIZES, chance, (trials, K)) / SIZES, SIZES, groups)["few"]:
        covered += low <= chance[few].mean() <= high
    assert 0.94 < covered / trials < 1.0
    ends = group_intervals(np.zeros((1, K)), SIZES, groups)
    assert set(ends) == {"many", "few"}
    assert ends["few"][0][0] == 0.0
    assert ends["few"][0][1] > 0.15  # twenty images in eight classes: none right may still be more than one in seven
    one = group_intervals(np.ones((1, 1)), np.array([3]), shot_groups([10]))["few"][0]
    assert one == pytest.approx([float(end) for end in exact_interval(1.0, 3)])
