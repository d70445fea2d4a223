"""Re-weighted, focused and smoothed cross-entropies against their formulas in numpy."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax

from lt_bench.core.errors import UserError
from lt_bench.strategies.contract import Batch

EXACT = {"rtol": 1e-10, "atol": 1e-12}
K = 7


def cross_entropy(batch):
    return -log_softmax(batch.z, axis=1)[np.arange(len(batch.y)), batch.y]


def to_k(weights):
    return weights * K / weights.sum()


def effective(n, beta):
    return to_k((1 - beta) / (1 - beta**n))


WEIGHTS = {
    "inverse_frequency": lambda n: to_k(1 / n),
    "sqrt_inverse": lambda n: to_k(1 / np.sqrt(n)),
    "log_reweight": lambda n: 1 - np.log((n / n.sum()) / (n / n.sum()).max()),
    "grw": lambda n: to_k((n.sum() / n) ** 1.2),
    "cb": lambda n: effective(n, 0.9999),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weighted_cross_entropy_and_its_reductions(batch, make, name):
    logits, given = batch.tensors
    weight = WEIGHTS[name](batch.n)[batch.y]
    by_weights, by_samples = make(name), make(name, reduction="samples")
    np.testing.assert_allclose(by_weights.loss(logits, given), weight * cross_entropy(batch), **EXACT)
    np.testing.assert_allclose(by_weights.denominator(given.labels), weight.sum(), **EXACT)
    np.testing.assert_allclose(by_samples.loss(logits, given), weight * cross_entropy(batch), **EXACT)
    assert by_samples.denominator(given.labels) == len(batch.y)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal(batch, make, gamma):
    logits, given = batch.tensors
    p = np.exp(-cross_entropy(batch))
    np.testing.assert_allclose(make("focal", gamma=gamma).loss(logits, given), (1 - p) ** gamma * cross_entropy(batch), **EXACT)


@pytest.mark.parametrize("probability", ["weighted", "plain"])
def test_class_balanced_focal(batch, make, probability):
    logits, given = batch.tensors
    weighted = effective(batch.n, 0.999)[batch.y] * cross_entropy(batch)
    p = np.exp(-(weighted if probability == "weighted" else cross_entropy(batch)))
    actual = make("cb_focal", gamma=1.5, beta=0.999, probability=probability)
    np.testing.assert_allclose(actual.loss(logits, given), (1 - p) ** 1.5 * weighted, **EXACT)
    assert actual.denominator(given.labels) == len(batch.y)


def test_class_balanced_sigmoid_focal(batch, make):
    logits, given = batch.tensors
    onehot = np.eye(K)[batch.y]
    right = np.where(onehot == 1, batch.z, -batch.z)
    terms = expit(-right) ** 1.5 * np.logaddexp(0, -right)
    expected = effective(batch.n, 0.999)[batch.y] * terms.sum(1)
    actual = make("cb_focal_sigmoid", gamma=1.5, beta=0.999)
    np.testing.assert_allclose(actual.loss(logits, given), expected, **EXACT)
    np.testing.assert_allclose(actual.bias.detach(), -np.log(K - 1), rtol=1e-6)


def smoothed(batch, q_true, q_other):
    q = np.full((len(batch.y), K), q_other)
    q[np.arange(len(batch.y)), batch.y] = q_true
    return -(q * log_softmax(batch.z, axis=1)).sum(1)


@pytest.mark.parametrize("name", ["label_smoothing", "los", "lort"])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.98])
def test_smoothing_in_both_conventions(batch, make, name, epsilon):
    logits, given = batch.tensors
    torch_form, others = make(name, epsilon=epsilon), make(name, epsilon=epsilon, convention="others")
    np.testing.assert_allclose(torch_form.loss(logits, given), smoothed(batch, 1 - epsilon + epsilon / K, epsilon / K), **EXACT)
    np.testing.assert_allclose(others.loss(logits, given), smoothed(batch, 1 - epsilon, epsilon / (K - 1)), **EXACT)


def test_los_by_true_probability_and_by_gap(batch, make):
    logits, given = batch.tensors
    actual = make("los", true_probability=0.3).loss(logits, given)
    np.testing.assert_allclose(actual, smoothed(batch, 0.3, 0.7 / (K - 1)), **EXACT)
    q_other = 1 / (K - 1 + np.exp(1.7))
    np.testing.assert_allclose(make("los", gap=1.7).loss(logits, given), smoothed(batch, np.exp(1.7) * q_other, q_other), **EXACT)


def test_the_gap_of_los_is_that_of_its_optimum(make):
    """Gradient descent on free logits ends at the gap asked for."""
    los, given = make("los", gap=2.0), Batch(torch.zeros(1, 5), torch.tensor([3]), torch.tensor([0]))
    z = torch.zeros(1, K, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([z], max_iter=100, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = los.loss(z, given).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    actual = z.detach()[0]
    assert (actual[3] - actual[torch.arange(K) != 3]).tolist() == pytest.approx([2.0] * (K - 1), abs=1e-6)


@pytest.mark.parametrize("given", [{"true_probability": 0.5, "gap": 1.0}, {"true_probability": 0.1}, {"epsilon": 1.1}, {"gap": -1.0}])
def test_los_refuses_targets_that_contradict_or_cannot_be(make, given):
    with pytest.raises(UserError, match=r"los"):
        make("los", **given)


@pytest.mark.parametrize(
    ("name", "given"),
    [("focal", {"gamma": -1.0}), ("cb_focal", {"beta": 1.0}), ("grw", {"rho": 9.0}), ("label_smoothing", {"epsilon": 2.0})],
)
def test_hyperparameters_out_of_range_are_named(make, name, given):
    with pytest.raises(UserError, match=rf"{name}\.{next(iter(given))}"):
        make(name, **given)


@pytest.mark.parametrize("name", ["focal", "cb_focal", "cb_focal_sigmoid", "ib", "ib_cb", "ib_fl"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_have_finite_gradients(make, name, dtype):
    given = {"gamma": 0.5} if "focal" in name or name == "ib_fl" else {}
    logits = torch.tensor([[300.0, 0, -300, 0, 0, 0, 0], [-300, 300.0, 0, 0, 0, 0, 0]], dtype=dtype, requires_grad=True)
    losses = make(name, **given).loss(logits, Batch(torch.ones(2, 5, dtype=dtype), torch.tensor([0, 0]), torch.tensor([0, 1])))
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert torch.isfinite(logits.grad).all()
