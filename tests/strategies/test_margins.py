"""Losses that move the logits before the softmax, against their formulas in numpy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp

from lt_bench.strategies.contract import Batch

EXACT = {"rtol": 1e-10, "atol": 1e-11}


def cross_entropy(z, y):
    return -log_softmax(z, axis=1)[np.arange(len(y)), y]


def test_cosine_strategies_have_scaled_cosines_as_logits(make):
    features = torch.randn(9, 5, dtype=torch.float64)
    for name in ("ldam", "ldam_drw", "gcl"):
        strategy = make(name, scale=12.5)
        w, h = strategy.weight.detach().numpy(), features.numpy()
        expected = 12.5 * (h @ w.T) / np.outer(np.linalg.norm(h, axis=1), np.linalg.norm(w, axis=1))
        np.testing.assert_allclose(strategy.logits(features).detach(), expected, **EXACT)
        np.testing.assert_allclose(strategy.inference_head()(features).detach(), expected, **EXACT)


def test_cosine_strategies_start_from_the_directions_of_the_stage_1_rows(make):
    strategy = make("ldam")
    stage_1 = strategy.facts.head.weight.double()
    np.testing.assert_allclose(strategy.weight.detach(), stage_1 / stage_1.norm(dim=1, keepdim=True), rtol=1e-6)
    assert [name for name, parameter in strategy.named_parameters() if parameter.requires_grad] == ["weight"]


@pytest.mark.parametrize("name", ["ldam", "ldam_drw"])
def test_ldam(batch, make, name):
    logits, given = batch.tensors
    margin = 0.4 * (batch.n**-0.25 / (batch.n**-0.25).max())
    cosines = batch.z / 17
    cosines[np.arange(len(batch.y)), batch.y] -= margin[batch.y]
    np.testing.assert_allclose(make(name, max_margin=0.4, scale=17.0).loss(logits, given), cross_entropy(17 * cosines, batch.y), **EXACT)


def test_ldam_drw_weights_its_last_epochs(batch, make):
    logits, given = batch.tensors
    strategy = make("ldam_drw", epochs=10, deferral=0.6)
    weight = (1 - 0.9999) / (1 - 0.9999**batch.n)
    weight *= len(weight) / weight.sum()
    plain = make("ldam").loss(logits, given)
    for epoch, late in ((0, False), (5, False), (6, True), (9, True)):
        strategy.start_epoch(epoch)
        expected = weight[batch.y] if late else np.ones(len(batch.y))
        np.testing.assert_allclose(strategy.loss(logits, given), expected * plain.numpy(), **EXACT)
        np.testing.assert_allclose(strategy.denominator(given.labels), expected.sum(), **EXACT)


def test_vs_cdt_and_logit_adjustment_loss(batch, make):
    logits, given = batch.tensors
    prior, delta = batch.n / batch.n.sum(), (batch.n.max() / batch.n) ** 0.3
    actual = make("vs", gamma=0.3, tau=1.2).loss(logits, given)
    np.testing.assert_allclose(actual, cross_entropy(batch.z / delta + 1.2 * np.log(prior), batch.y), **EXACT)
    np.testing.assert_allclose(make("cdt", gamma=0.3).loss(logits, given), cross_entropy(batch.z / delta, batch.y), **EXACT)
    actual = make("la_loss", tau=1.3).loss(logits, given)
    np.testing.assert_allclose(actual, cross_entropy(batch.z + np.log(prior**1.3 + 1e-12), batch.y), **EXACT)


def test_losses_of_the_prior_predict_with_plain_logits(make):
    features = torch.randn(4, 5, dtype=torch.float64)
    for name in ("vs", "cdt", "la_loss", "lade", "seql"):
        strategy = make(name)
        expected = features @ strategy.weight.T + strategy.bias
        np.testing.assert_allclose(strategy.inference_head()(features), expected.detach(), **EXACT)


class Fixed:
    """A source of numbers known in advance."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = torch.from_numpy(numbers)

    def uniform(self, like: torch.Tensor) -> torch.Tensor:
        return self.numbers.expand(like.shape)

    normal = uniform


def test_softmax_equalization(batch, make):
    logits, given = batch.tensors
    strategy = make("seql", gamma=0.7, threshold=0.1)
    drawn = np.random.default_rng(0).uniform(size=batch.z.shape)
    strategy.transform.draws = Fixed(drawn)
    w = 1 - (drawn < 0.7) * (batch.n / batch.n.sum() < 0.1) * (1 - np.eye(len(batch.n))[batch.y])
    expected = logsumexp(batch.z, b=w, axis=1) - batch.z[np.arange(len(batch.y)), batch.y]
    assert 0 < (w == 0).sum() < w.size
    np.testing.assert_allclose(strategy.loss(logits, given), expected, **EXACT)


def test_softmax_equalization_without_rare_classes_is_cross_entropy(batch, make):
    logits, given = batch.tensors
    actual = make("seql", gamma=1.0, threshold=0.0).loss(logits, given)
    np.testing.assert_allclose(actual, cross_entropy(batch.z, batch.y), **EXACT)


def test_gaussian_clouded_logits(batch, make):
    logits, given = batch.tensors
    strategy = make("gcl", noise=0.8, margin=0.2, scale=9.0, gamma=1.5)
    drawn = np.random.default_rng(0).normal(size=batch.z.shape) * 2
    strategy.transform.draws = Fixed(drawn)
    rarity = np.log(batch.n.max()) - np.log(batch.n)
    cosines = batch.z / 9 - 0.8 * np.minimum(np.abs(drawn / 3), 1) * rarity / rarity.max()
    cosines[np.arange(len(batch.y)), batch.y] -= 0.2
    entropy = cross_entropy(9 * cosines, batch.y)
    assert (np.abs(drawn / 3) > 1).any()
    np.testing.assert_allclose(strategy.loss(logits, given), (1 - np.exp(-entropy)) ** 1.5 * entropy, **EXACT)


def test_the_focus_of_gcl_carries_no_gradient(batch, make):
    logits, given = batch.tensors
    logits.requires_grad_()
    focused, plain = make("gcl", noise=0.0, gamma=1.0), make("gcl", noise=0.0, gamma=0.0)
    entropy = plain.loss(logits, given)
    weight = 1 - torch.exp(-entropy.detach())
    (expected,) = torch.autograd.grad((weight * entropy).sum(), logits)
    (actual,) = torch.autograd.grad(focused.loss(logits, given).sum(), logits)
    np.testing.assert_allclose(actual, expected, **EXACT)


@pytest.mark.parametrize("name", ["gcl", "las"])
def test_equal_class_counts_are_no_division_by_zero(make, name):
    strategy = make(name, counts=(9,) * 4)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    losses = strategy.loss(torch.randn(6, 4, dtype=torch.float64), Batch(torch.randn(6, 5, dtype=torch.float64), labels, labels))
    assert torch.isfinite(losses).all()
