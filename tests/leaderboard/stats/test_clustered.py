"""Intervals and tests where images come in groups, on simulated groups whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from lt_bench.leaderboard.objective.objective import MACRO, MICRO
from lt_bench.leaderboard.stats.clustered import Clustered
from lt_bench.leaderboard.stats.design import Design
from lt_bench.leaderboard.stats.paired import compare_all
from lt_bench.leaderboard.stats.shares import objective_intervals

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
    assert naive / trials > 0.15  # what images that count as independent say
