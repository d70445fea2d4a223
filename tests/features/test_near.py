"""Feature rows of different splits that are all but equal."""

import numpy as np
import pytest
import torch

import lt_bench as lt
from lt_bench.features.near import near_rows

COUNTS = (200, 120, 60, 30, 12, 6, 5)
LABELS = torch.repeat_interleave(torch.arange(len(COUNTS)), torch.tensor(COUNTS))


def drawn(D, width, seed=0):
    """Training rows of a long tail and 20 test rows a class; the spread within a class is ``width`` times that of the classes."""
    generator = torch.Generator().manual_seed(seed)
    means, held = torch.randn(len(COUNTS), D, generator=generator), torch.arange(len(COUNTS)).repeat_interleave(20)
    return [means[labels] + width * torch.randn(len(labels), D, generator=generator) for labels in (LABELS, held)]


def near(held, train):
    return near_rows(held, torch.arange(len(held)), train, LABELS, train.mean(0))


@pytest.mark.parametrize(("D", "width"), [(512, 1.0), (512, 0.02), (96, 0.05), (24, 1.0), (3, 1.0)])
def test_noisy_copies_are_named_and_neighbours_are_not(D, width):
    """Also of classes with five rows, where collapsed features leave a gap beyond the fifth neighbour."""
    train, held = drawn(D, width)
    assert near(held, train) == (140, [])
    copies = {3: 0, 30: 205, 139: 432}
    for row, source in copies.items():
        held[row] = train[source] * (1 + 1e-4 * width)
    assert near(held, train) == (140, list(copies.items()))
    held[3] = train[0]  # an equal row is counted elsewhere
    assert near(held, train)[1] == [(30, 205), (139, 432)]


def test_rows_that_float32_cannot_tell_apart_are_not_near():
    train, held = drawn(512, 1e-7)
    assert near(held, train)[1] == []
    assert near(train[:100], train[:1].expand(len(train), -1))[1] == []
    assert near_rows(held, torch.arange(3), train[:6], LABELS[:6], train[:6].mean(0)) == (0, [])


def test_the_audit_says_so():
    train, held = drawn(32, 1.0)
    held[[8, 50]] = train[[70, 210]] * 1.0001
    held[9] = train[71]
    with pytest.warns(
        UserWarning, match=r"2 of 139 test rows are all but equal to a training row, .*first: test row 8 is like training row 70"
    ):
        cache = lt.Cache.from_arrays(
            train.numpy(),
            LABELS.numpy(),
            test=(held.numpy(), np.repeat(np.arange(7), 20)),
            val=(held[100:].numpy() + 1, np.repeat([5, 6], 20)),
            head=None,
        )
    assert cache.manifest.audit["near_rows"] == {"val": {"compared": 40, "near": 0}, "test": {"compared": 139, "near": 2}}
    assert cache.manifest.audit["repeated_rows"]["test in train"] == 1
