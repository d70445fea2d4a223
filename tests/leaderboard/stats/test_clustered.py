"""Intervals and tests where images come in groups, on simulated groups whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from lt_bench.leaderboard.objective.objective import MACRO, MICRO
from lt_bench.leaderboard.stats.clustered import Clustered, differences_by_class, effects_on_classes
from lt_bench.leaderboard.stats.design import Design
from lt_bench.leaderboard.stats.paired import compare_all
from lt_bench.leaderboard.stats.shares import exact_interval, objective_intervals

FRAMES, TRACKS = 8, (20, 12, 6, 3, 2, 1)
K = len(TRACKS)
LABELS = np.repeat(np.arange(K), np.multiply(TRACKS, FRAMES))
GROUPS = np.arange(len(LABELS)) // FRAMES
COUNTS = np.bincount(LABELS)


def drawn(rng, group, chance=0.6):
    """Whether each image is right: images of a group are alike (correlation 0.6), and right with ``chance`` on average."""
    of_group = rng.beta(chance * 0.6, (1 - chance) * 0.6, group.max() + 1)
    return (rng.random(len(group)) < of_group[group])[None].astype(float)


@pytest.mark.parametrize("objective", [MACRO, MICRO])
def test_groups_of_one_image_are_images(objective):
    worth = (np.random.default_rng(0).random((3, len(LABELS))) < 0.6).astype(float)
    alone, plain = Clustered.by_group(objective, LABELS, K, np.arange(len(LABELS))), Design.of(objective, LABELS, K)
    first, second = (compare_all(list(worth[:, None]), [None] * 3, None, design) for design in (alone, plain))
    assert first.error == pytest.approx(second.error, abs=1e-8)  # of a row and itself the difference of two products
    assert first.degrees == pytest.approx(second.degrees)
    assert alone.effect(worth) == pytest.approx(np.ones(3))


@pytest.mark.parametrize("objective", [MACRO, MICRO])
@pytest.mark.parametrize("mixed", [False, True])
def test_intervals_cover_and_equal_rows_are_rarely_told_apart_where_groups_are_alike(objective, mixed):
    """Tracks of one class each, and groups that have images of several classes, as patients do."""
    rng, trials = np.random.default_rng(1), 120
    right, told, naive = 0, 0, 0
    for _ in range(trials):
        group = rng.integers(0, 30, len(LABELS)) if mixed else GROUPS
        design = Clustered.by_group(objective, LABELS, K, group)
        one, other = drawn(rng, group), drawn(rng, group)
        accuracy = np.bincount(LABELS, one[0], K) / COUNTS
        ((low, high),) = objective_intervals(one, accuracy[None], COUNTS, objective, design)
        right += low <= 0.6 <= high
        told += compare_all([one, other], [None] * 2, None, design).p[0, 1] < 0.05
        naive += compare_all([one, other], [None] * 2, None, Design.of(objective, LABELS, K)).p[0, 1] < 0.05
    assert right / trials > 0.85
    assert told / trials < 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert naive / trials > 0.15  # the rate where images count as independent


def test_intervals_of_classes_cover_where_groups_are_alike():
    rng, trials = np.random.default_rng(2), 120
    covered, naive = np.zeros(K), np.zeros(K)
    for _ in range(trials):
        one = drawn(rng, GROUPS)[0]
        effects, share = effects_on_classes(one, LABELS, K, GROUPS), np.bincount(LABELS, one, K) / COUNTS
        assert (effects >= 1).all()
        for inside, n in ((covered, COUNTS / effects), (naive, COUNTS)):
            low, high = exact_interval(share, n)
            inside += (low <= 0.6) & (high >= 0.6)
    assert (covered / trials).min() > 0.9
    assert (naive / trials).max() < 0.8
    assert (effects_on_classes(drawn(rng, GROUPS)[0], LABELS, K, None) == 1).all()


@pytest.mark.parametrize("objective", [MACRO, MICRO])
@pytest.mark.parametrize("right", [1.0, 1 / 3, 0.0])
def test_groups_of_equal_images_count_as_one_image_each(objective, right):
    """Images that all agree do not show how alike those of a group are."""
    group = np.arange(40) // 8
    design = Clustered.by_group(objective, np.zeros(40, np.intp), 1, group)
    assert 40 / design.effect(np.full((1, 40), right)) == pytest.approx(5)


def test_intervals_of_differences_by_class_cover_where_groups_are_alike():
    rng, trials = np.random.default_rng(3), 120
    covered, naive = np.zeros(K), np.zeros(K)
    for _ in range(trials):
        difference = (drawn(rng, GROUPS, 0.7) - drawn(rng, GROUPS, 0.5))[0]
        for inside, groups in ((covered, GROUPS), (naive, None)):
            low, high = differences_by_class(difference, LABELS, K + 1, groups)
            assert (low[K], high[K]) == (-1.0, 1.0)  # a class without images
            inside += (low[:K] <= 0.2) & (high[:K] >= 0.2)
    assert (covered / trials).min() > 0.9
    assert (naive / trials).max() < 0.85
