from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lt_bench.engine import evaluate as evaluate_module
from lt_bench.engine.evaluate import Told, evaluate
from lt_bench.features.cache import open_cache
from lt_bench.strategies._lib.tensors import linear_head

COUNTS = (60, 41, 25, 13, 5, 1)


@pytest.fixture(scope="module")
def test_split(small_cache):
    return open_cache(small_cache).split("test")


@pytest.fixture(scope="module")
def head(small_cache):
    stage1 = open_cache(small_cache).head()
    return linear_head(stage1.weight, stage1.bias)


def test_against_numpy(test_split, head):
    got = evaluate(head, (test_split.view("plain"),), test_split.labels, COUNTS, classifier=head.weight)
    z = test_split.view("plain").double().numpy() @ head.weight.double().numpy().T + head.bias.double().numpy()
    labels = test_split.labels.numpy()
    p = np.exp(z - z.max(1, keepdims=True))
    p = (p / p.sum(1, keepdims=True))[np.arange(42), labels]
    assert got.predictions.tolist() == z.argmax(1).tolist()
    np.testing.assert_allclose(got.true_probability, p, rtol=1e-5)
    assert got.scalars["accuracy"] == pytest.approx((z.argmax(1) == labels).mean())
    assert got.scalars["nll"] == pytest.approx(-np.log(p).mean(), rel=1e-5)
    assert got.predictions.dtype == np.int32
    assert got.true_probability.dtype == np.float32
    assert "cosine" in got.vectors


@pytest.mark.parametrize("chunk", [1, 6 * 5, 6 * 42, 1 << 22])
def test_every_sample_counts_once_whatever_the_chunk(test_split, head, chunk, monkeypatch):
    whole = evaluate(head, (test_split.view("plain"),), test_split.labels, COUNTS)
    monkeypatch.setattr(evaluate_module, "CHUNK_NUMBERS", chunk)
    got = evaluate(head, (test_split.view("plain"),), test_split.labels, COUNTS)
    assert got.vectors["class_total"].tolist() == np.bincount(test_split.labels.numpy(), minlength=6).tolist()
    assert got.vectors["class_total"].sum() == 42
    assert got.predictions.tolist() == whole.predictions.tolist()
    for name, value in whole.scalars.items():
        assert got.scalars[name] == pytest.approx(value, rel=1e-5, abs=1e-6, nan_ok=True), (
            name
        )  # a row alone is multiplied by other code than many


def test_a_head_may_overwrite_what_it_is_given_and_the_features_stay(test_split, head):
    features = test_split.view("plain").float()
    before = features.clone()
    evaluate(nn.Sequential(nn.ReLU(inplace=True), head), (features, features), test_split.labels, COUNTS)
    assert torch.equal(features, before)


def test_flip_averages_logits(test_split, head):
    plain, flip = test_split.view("plain"), test_split.view("flip")
    got = evaluate(head, (plain, flip), test_split.labels, COUNTS)
    expected = (head(plain) + head(flip)) / 2
    assert got.predictions.tolist() == expected.argmax(1).tolist()
    np.testing.assert_allclose(got.true_probability, expected.softmax(1)[torch.arange(42), test_split.labels].numpy(), rtol=1e-5)


def test_float64(test_split, head):
    module = nn.Linear(8, 6)
    module.load_state_dict(head.state_dict())
    got = evaluate(module, (test_split.view("plain"),), test_split.labels, COUNTS, dtype=torch.float64)
    z = test_split.view("plain").double() @ head.weight.double().T + head.bias.double()
    assert got.scalars["nll"] == pytest.approx(float(torch.nn.functional.cross_entropy(z, test_split.labels)), abs=1e-12)


def test_class_bias_and_accuracy_without_it(test_split, head):
    view, labels = test_split.view("plain"), test_split.labels
    shifted = linear_head(head.weight, head.bias + torch.tensor([5.0, 0, 0, 0, 0, 0]))
    plain, biased = (
        evaluate(one, (view,), labels, COUNTS, equalise=True, offsets=torch.tensor([-5.0, 0, 0, 0, 0, 0])) for one in (head, shifted)
    )
    predicted = np.bincount(biased.predictions, minlength=6) - np.bincount(labels.numpy(), minlength=6)
    assert biased.scalars["class_bias"] == pytest.approx(np.abs(predicted).sum() / 84)
    assert biased.scalars["class_bias"] > plain.scalars["class_bias"]
    assert biased.scalars["accuracy_equal_bias"] == pytest.approx(plain.scalars["accuracy_equal_bias"], abs=2 / 42)
    assert biased.scalars["accuracy_equal_bias_val"] == plain.scalars["accuracy"]
    assert "accuracy_equal_bias" not in evaluate(head, (view,), labels, COUNTS).scalars


def test_logits_that_memory_does_not_hold_lie_in_a_file_and_give_the_same(test_split, head, monkeypatch):
    view, labels, offsets = test_split.view("plain"), test_split.labels, torch.arange(6) / 10
    whole = evaluate(head, (view,), labels, COUNTS, equalise=True, offsets=offsets)
    monkeypatch.setattr(evaluate_module, "feature_memory", lambda *_: 4 * 42 * 6 - 1)
    mapped = evaluate(head, (view,), labels, COUNTS, equalise=True, offsets=offsets)
    assert mapped.scalars == pytest.approx(whole.scalars, nan_ok=True, abs=0)
    assert torch.equal(mapped.offsets, whole.offsets)
    monkeypatch.setattr(evaluate_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=4 * 42 * 6 - 1))
    without = evaluate(head, (view,), labels, COUNTS, equalise=True).scalars
    assert without["accuracy"] == whole.scalars["accuracy"]
    assert "accuracy_equal_bias" not in without


@pytest.mark.parametrize("chunk", [6 * 5, 1 << 22])
def test_a_head_is_told_a_prior_against_numpy(test_split, head, chunk, monkeypatch):
    monkeypatch.setattr(evaluate_module, "CHUNK_NUMBERS", chunk)
    prior, exchange = np.array([0.5, 0.2, 0.1, 0.1, 0.05, 0.05]), np.array([2.0, 0, -1, 0.5, 0, -2])
    told = {"ponds": Told(torch.from_numpy(exchange), torch.from_numpy(prior))}
    keep = test_split.labels != 4  # a class without test images leaves its share to the others
    features, labels = test_split.view("plain")[keep], test_split.labels[keep]
    z = features.double().numpy() @ head.weight.double().numpy().T + head.bias.double().numpy()
    right, y = (z + exchange).argmax(1) == labels.numpy(), labels.numpy()
    expected = sum(prior[k] * right[y == k].mean() for k in (0, 1, 2, 3, 5)) / 0.95
    got = evaluate(head, (features,), labels, COUNTS, told=told).scalars
    assert got["accuracy_told_ponds"] == pytest.approx(expected)
    assert got["accuracy"] == pytest.approx((z.argmax(1) == y).mean())
