import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lt_bench.core.errors import UserError
from lt_bench.metrics.groups import group_means, shot_groups


def test_the_borders_100_and_20_are_medium():
    groups = shot_groups([500, 101, 100, 20, 19, 0])
    assert groups.many.tolist() == [True, True, False, False, False, False]
    assert groups.medium.tolist() == [False, False, True, True, False, False]
    assert groups.few.tolist() == [False, False, False, False, True, True]


def test_cifar100_lt_has_35_35_30_classes():
    counts = [int(500 * 100 ** (-c / 99)) for c in range(100)]
    groups = shot_groups(counts)
    assert (groups.many.sum(), groups.medium.sum(), groups.few.sum()) == (35, 35, 30)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=40))
def test_every_class_is_in_exactly_one_group(counts):
    groups = shot_groups(counts)
    assert np.array_equal(groups.many.astype(int) + groups.medium + groups.few, np.ones(len(counts)))


def test_thresholds_can_be_chosen():
    groups = shot_groups([50, 10, 9], many_above=49, few_below=10)
    assert (groups.many.tolist(), groups.medium.tolist(), groups.few.tolist()) == (
        [True, False, False],
        [False, True, False],
        [False, False, True],
    )


def test_group_means_leave_out_absent_classes_and_an_empty_group_is_nan():
    groups = shot_groups([200, 300, 50, 60])
    means = group_means(np.array([0.5, np.nan, np.nan, np.nan]), groups)
    assert means["many"] == 0.5
    assert np.isnan(means["medium"])
    assert np.isnan(means["few"])


@pytest.mark.parametrize("counts", [[], [[1, 2]], [3, -1], [1.0, float("nan")]])
def test_counts_that_are_none_are_refused(counts):
    with pytest.raises(UserError, match="train_counts"):
        shot_groups(counts)


def test_overlapping_thresholds_are_refused():
    with pytest.raises(UserError, match="overlap"):
        shot_groups([1, 2], many_above=10, few_below=12)


def test_groups_import_no_torch():
    code = "import sys, lt_bench.metrics.groups; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
