"""The recorder of matrix products that stands behind the costs of heads."""

from __future__ import annotations

import torch

from benchmarks.speed.head_costs import HEADS, Products
from lt_bench.strategies.registry import find


def test_products_of_both_ways_are_recorded_and_can_be_made_again() -> None:
    features, weight = torch.ones(4, 3), torch.zeros(2, 3, requires_grad=True)
    with Products() as recorded:
        (features @ weight.T).sum().backward()
        torch.zeros(3, 3).addmm_(features.T, features)
        features.add(1)
    assert sum(recorded.counts.values()) == 3
    shapes = sorted(tuple(shape for shape, *_ in key[1]) for key in recorded.counts)
    assert ((4, 3), (3, 2)) in shapes
    assert ((3, 3), (3, 4), (4, 3)) in shapes
    again = recorded.again("cpu")
    with Products() as second:
        again()
    assert second.counts == recorded.counts


def test_heads_whose_costs_are_measured_exist() -> None:
    for name in HEADS:
        assert find(name)
