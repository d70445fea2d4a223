"""Folds: stratified, groups whole, a class that would lose all its training rows never held out."""

from __future__ import annotations

import numpy as np
import pytest

from lt_bench.bench.choosing.folds import ALWAYS_TRAINS, folds_of


def test_classes_are_spread_evenly():
    labels = np.repeat(np.arange(4), (100, 20, 5, 1))
    fold = folds_of(labels, np.arange(126), 5, 4, trained=False)
    for k, most in enumerate((20, 4, 1)):
        assert (np.bincount(fold[labels == k], minlength=5) == most).all()
    assert sorted(np.bincount(fold).tolist()) == [25, 25, 25, 25, 26]


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_never_split_and_no_class_loses_its_last_training_row(seed):
    rng = np.random.default_rng(seed)
    n, K, folds = 150, 7, 4
    labels = rng.choice(K, n, p=np.array([40, 25, 15, 10, 5, 3, 2]) / 100)
    groups = rng.integers(0, 40, n)
    for trained in (False, True):
        fold = folds_of(labels, groups, folds, K, trained=trained, seed=seed)
        assert all(len(set(fold[groups == one])) == 1 for one in set(groups))
        assert set(fold) <= set(range(ALWAYS_TRAINS if trained else 0, folds))
        if trained:
            for k in set(fold) - {ALWAYS_TRAINS}:
                assert set(labels[fold == k]) <= set(labels[fold != k])


def test_a_class_of_one_group_always_trains():
    labels, groups = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 3, 4, 4, 5])
    fold = folds_of(labels, groups, 3, 3, trained=True)
    assert fold[4:].tolist() == [ALWAYS_TRAINS] * 3
    assert ALWAYS_TRAINS not in fold[:4]
    assert ALWAYS_TRAINS not in folds_of(labels, groups, 3, 3, trained=False)
