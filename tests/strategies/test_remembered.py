"""Tensors that heads make of the same training features are made once, while the features are there and memory for it is."""

import gc

import torch

from lt_bench.features.cache import FeatureSplit
from lt_bench.strategies._lib import remembered as module
from lt_bench.strategies._lib.remembered import content, remembered


def features():
    return FeatureSplit("train", ("plain",), (torch.zeros(2, 3),), torch.zeros(2, dtype=torch.long), torch.arange(2))


def test_a_result_is_computed_once_for_a_key_and_features():
    train, calls = features(), []

    def compute():
        calls.append(1)
        return torch.ones(2)

    assert remembered(train, "one", compute) is remembered(train, "one", compute)
    assert len(calls) == 1
    remembered(train, "other", compute)
    remembered(features(), "one", compute)
    assert len(calls) == 3


def test_what_was_asked_for_longest_ago_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(module, "BYTES", 2 * 4 * 100)
    train, calls = features(), []

    def ask(key):
        return remembered(train, key, lambda: (calls.append(key), torch.zeros(100))[1:])

    for key in ("a", "b", "a", "c", "a", "b"):
        ask(key)
    assert calls == ["a", "b", "c", "b"]


def test_features_that_move_are_not_remembered_and_gone_ones_are_forgotten():
    class Moving(FeatureSplit):
        moves = True

    train, calls = Moving(*vars(features()).values()), []
    for _ in range(2):
        remembered(train, "key", lambda: calls.append(1))
    assert len(calls) == 2
    still = features()
    remembered(still, "key", lambda: torch.zeros(1))
    gc.collect()  # features of other tests
    before = len(module._TABLES)
    del still
    gc.collect()
    assert len(module._TABLES) == before - 1


def test_content_is_that_of_the_numbers():
    a = torch.arange(4.0)
    assert content(a) == content(a.clone())
    assert content(a) == content(torch.nn.Parameter(a))
    assert content(a) != content(a + 1)
    assert content(a, a + 1) != content(a + 1, a)
