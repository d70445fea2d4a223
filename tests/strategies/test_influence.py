"""Losses that look at features or at the whole batch, against their formulas in numpy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp, softmax

from lt_bench.strategies.contract import Batch


def assert_close(actual, expected):
    """To 1e-10 of the largest value: 1 - p is known to machine precision only, and alpha / 0.001 magnifies it."""
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


def error(batch):
    return softmax(batch.z, axis=1) - np.eye(len(batch.n))[batch.y]


def influence(batch):
    return np.abs(error(batch)).sum(1) * np.abs(batch.h).sum(1) + 0.001


def influence_balanced(batch, weight, alpha, gamma):
    weighted = weight[batch.y] * -log_softmax(batch.z, axis=1)[np.arange(len(batch.y)), batch.y]
    return (1 - np.exp(-weighted)) ** gamma * weighted * alpha / influence(batch)


@pytest.mark.parametrize(("name", "gamma"), [("ib", 0.0), ("ib_cb", 0.0), ("ib_fl", 1.0)])
def test_influence_balanced_losses(batch, make, name, gamma):
    logits, given = batch.tensors
    weight = 1 / batch.n if name != "ib_cb" else (1 - 0.9999) / (1 - 0.9999**batch.n)
    weight = weight * len(weight) / weight.sum()
    strategy = make(name, alpha=70.0)
    expected = influence_balanced(batch, weight, 70.0, gamma)
    assert_close(strategy.loss(logits, given), expected)
    assert strategy.denominator(given.labels) == len(batch.y)


def test_detaching_the_influence_changes_the_gradient_only(batch, make):
    logits, given = batch.tensors
    logits.requires_grad_()
    through, cut = (make("ib", alpha=50.0, detach=detach).loss(logits, given) for detach in (False, True))
    assert_close(through.detach(), cut.detach().numpy())
    weight = (1 / batch.n) * len(batch.n) / (1 / batch.n).sum()
    (gradient,) = torch.autograd.grad(cut.sum(), logits)
    assert_close(gradient, error(batch) * (50.0 * weight[batch.y] / influence(batch))[:, None])
    (whole,) = torch.autograd.grad(through.sum(), logits)
    assert not torch.allclose(whole, gradient)


@pytest.mark.parametrize("name", ["ib", "ib_cb", "ib_fl"])
def test_calibrated_alpha_makes_the_loss_as_large_as_cross_entropy(make, train, name):
    strategy = make(name, alpha=3.0, calibration="ce")
    for _ in range(2):  # a second call, as after a restart, starts over
        with torch.no_grad():
            strategy.begin(train)
            features = train.view("plain").double()
            logits = strategy.logits(features)
            loss = strategy.loss(logits, Batch(features, train.labels, train.rows)).mean()
        assert loss.item() == pytest.approx(3.0 * torch.nn.functional.cross_entropy(logits, train.labels).item(), rel=1e-9)


def test_without_calibration_alpha_stays(make, train):
    strategy = make("ib", alpha=3.0)
    strategy.begin(train)
    assert strategy.weighting.used_alpha.tolist() == [3.0]


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_lade(batch, make, penalty):
    logits, given = batch.tensors
    K, prior = len(batch.n), batch.n / batch.n.sum()
    strategy = make("lade", alpha=0.2, penalty=penalty)
    expected = 0.0
    for c in range(K):
        own = batch.z[batch.y == c, c]
        first = own.sum() / (len(own) + 1e-8)
        second = logsumexp(batch.z[:, c] - np.log(prior[c] + 1e-9) + np.log(1 / K + 1e-9)) - np.log(len(batch.y))
        expected -= prior[c] * (first - second - penalty * second**2)
    assert strategy.batch_statistic(logits, given.labels).item() == pytest.approx(0.2 * expected, rel=1e-10)
    entropy = -log_softmax(batch.z + np.log(prior + 1e-9), axis=1)[np.arange(len(batch.y)), batch.y]
    np.testing.assert_allclose(strategy.loss(logits, given), entropy, rtol=1e-10, atol=1e-12)
