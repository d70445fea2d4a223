import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from lt_bench.metrics import _batches
from lt_bench.metrics import class_bias as class_bias_module
from lt_bench.metrics.class_bias import accuracy_with, class_bias, equalising_offsets


def test_total_variation():
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    assert class_bias(labels, labels, 4) == 0
    assert class_bias(labels.roll(3), labels, 4) == 0  # all wrong, and each class as often as it is
    assert class_bias(torch.zeros(8, dtype=torch.long), labels, 4) == 0.75
    assert class_bias(torch.tensor([0, 0, 0, 1, 2, 2, 3, 3]), labels, 4) == 1 / 8
    assert math.isnan(class_bias(labels[:0], labels[:0], 4))


def shares(logits, offsets):
    return torch.bincount((logits + offsets).argmax(1), minlength=logits.shape[1]) / len(logits)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 5, 30]), st.sampled_from([1e-4, 1.0, 1e4]))
def test_shares_become_the_prior_at_any_scale(seed, classes, scale):
    draws = torch.Generator().manual_seed(seed)
    bias = 3 * torch.randn(classes, generator=draws)
    logits = scale * (torch.randn(2_000, classes, generator=draws) + bias)
    prior = torch.rand(classes, generator=draws) + 0.2
    prior /= prior.sum()
    offsets = equalising_offsets(logits, prior)
    assert float((shares(logits, offsets) - prior).abs().sum() / 2) < 0.02
    assert float(offsets.mean()) == pytest.approx(0, abs=1e-4 * scale)


def test_the_assignment_is_the_best_of_those_with_equal_shares():
    """An independent reference: the assignment of largest total logit in which every class has its number of images."""
    draws = torch.Generator().manual_seed(1)
    classes, each = 6, 40
    logits = torch.randn(classes * each, classes, generator=draws) + torch.tensor([4.0, 2, 0, -1, -2, -3])
    _, columns = linear_sum_assignment(-np.repeat(logits.numpy(), each, axis=1))
    best = torch.from_numpy(columns // each)
    offsets = equalising_offsets(logits, torch.full((classes,), 1 / classes))
    assert float(((logits + offsets).argmax(1) == best).double().mean()) > 0.97


@pytest.mark.parametrize("classes", [5, 40])
def test_a_set_whose_softened_logits_are_not_held_has_the_same_offsets(classes, monkeypatch):
    draws = torch.Generator().manual_seed(4)
    logits = (torch.randn(700, classes, generator=draws) + 2 * torch.randn(classes, generator=draws)).half()
    prior = torch.rand(classes, generator=draws) * (torch.arange(classes) != 1)
    prior /= prior.sum()
    labels, whole = torch.arange(700) % classes, equalising_offsets(logits, prior)
    accuracy = accuracy_with(logits, labels, whole)
    monkeypatch.setattr(class_bias_module, "HELD", 700 * classes - 1)
    monkeypatch.setitem(_batches._CHUNK_ELEMENTS, "cpu", 300 * classes)  # chunks of 300, 300 and 100 rows
    parts = equalising_offsets(logits, prior)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)
    assert parts[1] == 0
    assert accuracy_with(logits, labels, whole) == accuracy


def test_offsets_of_the_logits_change_nothing():
    draws = torch.Generator().manual_seed(2)
    logits, shift = torch.randn(500, 8, generator=draws), 5 * torch.randn(8, generator=draws)
    prior = torch.full((8,), 1 / 8)
    plain, shifted = logits + equalising_offsets(logits, prior), logits + shift + equalising_offsets(logits + shift, prior)
    assert float((plain.argmax(1) == shifted.argmax(1)).double().mean()) > 0.97


def test_classes_that_are_not_in_the_prior_are_left_alone():
    logits = torch.randn(300, 5, generator=torch.Generator().manual_seed(3))
    logits[:, 2] = -torch.inf
    offsets = equalising_offsets(logits, torch.tensor([0.25, 0.25, 0, 0.25, 0.25]))
    assert offsets[2] == 0
    assert torch.isfinite(offsets).all()
    assert shares(logits, offsets)[2] == 0


def test_equal_logits_and_one_class_end():
    assert equalising_offsets(torch.zeros(20, 3), torch.full((3,), 1 / 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert equalising_offsets(torch.zeros(20, 3), torch.tensor([0.0, 1, 0])).tolist() == [0, 0, 0]


def test_accuracy_with_offsets():
    logits = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    assert accuracy_with(logits, torch.tensor([0, 1, 1]), torch.zeros(2)) == pytest.approx(2 / 3)
    assert accuracy_with(logits, torch.tensor([0, 1, 1]), torch.tensor([0.0, 2])) == pytest.approx(2 / 3)
