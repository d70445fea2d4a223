import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lt_bench.core.errors import UserError
from lt_bench.metrics.accuracy import ClassAccuracy


def test_by_hand():
    metric = ClassAccuracy(4)
    metric.update(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 2]))
    metric.update(torch.tensor([3]), torch.tensor([0]))
    correct, total = metric.compute()
    assert correct.tolist() == [1, 1, 1, 0]
    assert total.tolist() == [2, 1, 2, 0]
    assert correct.dtype == total.dtype == torch.long


@given(st.integers(2, 9), st.integers(0, 60), st.integers(0, 60), st.integers(0, 10_000))
def test_against_numpy_in_two_batches(k, n, cut, seed):
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(k, size=n), rng.integers(k, size=n)
    metric = ClassAccuracy(k)
    for part in (slice(0, cut), slice(cut, None)):
        metric.update(torch.from_numpy(predictions[part]), torch.from_numpy(labels[part]))
    correct, total = metric.compute()
    assert total.tolist() == [int((labels == c).sum()) for c in range(k)]
    assert correct.tolist() == [int(((labels == c) & (predictions == c)).sum()) for c in range(k)]


def test_state_is_linear_in_the_number_of_classes():
    metric = ClassAccuracy(8142)
    labels = torch.arange(8142)
    metric.update(labels, labels)
    assert sum(state.numel() for state in metric.metric_state.values()) == 2 * 8142


def test_shapes_that_differ_are_refused():
    with pytest.raises(UserError, match=r"need labels of shape \(3,\)"):
        ClassAccuracy(3).update(torch.zeros(3, dtype=torch.long), torch.zeros(2, dtype=torch.long))
    with pytest.raises(UserError, match="at least 2 classes"):
        ClassAccuracy(1)
