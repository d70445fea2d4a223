"""Discriminants, neighbours and linear probes against scikit-learn and scipy."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as LinearRegression
from sklearn.neighbors import KNeighborsClassifier

from lt_bench.bench.contract.subject import fit, job, problem
from lt_bench.core import memory_heads
from lt_bench.core.inference_heads import head_from, head_parts
from lt_bench.strategies._lib import class_means
from lt_bench.strategies.registry import find

COUNTS, DIM = (40, 18, 9, 5), 6


@pytest.fixture
def on():
    return problem(COUNTS, DIM)


def logits(name, on, rows, **changes):
    head = fit(on, [job(find(name), **changes)], torch.float64)[0].module()
    return head(torch.as_tensor(rows)).numpy()


def data(on, form="un"):
    """Training features and labels, and other features, as a strategy sees them."""
    h, test = on.train.view("plain").double().numpy(), on.batch(25, torch.float64).features.numpy()
    if form == "l2n":
        h, seen = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (h, test))
        return h, on.train.labels.numpy(), test, seen
    return h, on.train.labels.numpy(), test, test


@pytest.mark.parametrize("form", ["un", "l2n"])
@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_lda_is_scikit_learns(on, form, balance):
    h, y, test, seen = data(on, form)
    priors = np.full(4, 0.25) if balance else np.array(COUNTS) / sum(COUNTS)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2, priors=priors).fit(h, y)
    expected = model.decision_function(seen) - np.log(priors)
    np.testing.assert_allclose(logits("lda", on, test, shrinkage=0.2, features=form, balance=balance), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("form", ["un", "l2n"])
@pytest.mark.parametrize("strength", [3.0, 100.0])
def test_qda_is_the_density_of_shrunk_gaussians(on, form, strength):
    h, y, test, seen = data(on, form)
    own = [np.cov(h[y == c].T, bias=True) for c in range(4)]
    common = sum(own) / 4
    common = 0.8 * common + 0.2 * np.trace(common) / DIM * np.eye(DIM)
    share = [n / (n + strength) for n in COUNTS]
    expected = np.stack(
        [multivariate_normal.logpdf(seen, h[y == c].mean(0), share[c] * own[c] + (1 - share[c]) * common) for c in range(4)], axis=1
    )
    actual = logits("qda", on, test, shrinkage=0.2, features=form, strength=strength)
    centred = [z - z.mean(1, keepdims=True) for z in (actual, expected)]
    np.testing.assert_allclose(*centred, rtol=1e-6, atol=1e-6)


def test_qda_with_a_strong_common_covariance_is_lda(on):
    test = data(on)[2]
    quadratic, linear = logits("qda", on, test, strength=1e9), logits("lda", on, test)
    np.testing.assert_allclose(quadratic - quadratic[:, :1], linear - linear[:, :1], atol=1e-4)


def test_knn_is_scikit_learns(on):
    h, y, test, _ = data(on)
    vote = KNeighborsClassifier(15, metric="cosine", algorithm="brute", weights=lambda distances: np.exp(-distances / 0.3)).fit(h, y)
    actual = logits("knn", on, test, k=15, temperature=0.3, balance=0.0)
    actual = np.exp(actual) / np.exp(actual).sum(1, keepdims=True)
    np.testing.assert_allclose(actual, vote.predict_proba(test), atol=1e-6)


def test_votes_are_divided_by_the_class_size(on):
    test = data(on)[2]
    plain, balanced = (np.exp(logits("knn", on, test, k=1000, balance=balance)) for balance in (0.0, 1.0))
    np.testing.assert_allclose(balanced / plain, np.tile(max(COUNTS) / np.array(COUNTS), (25, 1)), rtol=1e-6)


def test_lda_of_one_sample_a_class_is_the_nearest_mean():
    single = problem((1, 1, 1, 1), DIM)  # no class has a covariance
    h, y, test, _ = data(single)
    means = h[np.argsort(y)]
    np.testing.assert_allclose(logits("lda", single, test, features="un"), test @ means.T - (means**2).sum(1) / 2, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["knn", "lda", "qda"])
def test_blocks_of_rows_give_the_same_head_and_a_file_keeps_it(on, name, monkeypatch):
    test = data(on)[2]
    whole = logits(name, on, test)
    monkeypatch.setattr(memory_heads, "ROWS", 7)
    monkeypatch.setattr("lt_bench.strategies.knn.ROWS", 7)
    monkeypatch.setattr(class_means, "ROWS", 7)
    np.testing.assert_allclose(logits(name, problem(COUNTS, DIM), test), whole, atol=1e-9)
    head = fit(on, [job(find(name))])[0].module()
    features = torch.from_numpy(test).float()
    parts = head_parts(head)
    assert parts is not None
    assert torch.equal(head_from(*parts)(features), head(features))


@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_logistic_is_scikit_learns(on, balance):
    h, y, test, _ = data(on)
    weights = "balanced" if balance else None
    model = LogisticRegression(C=1 / (len(h) * 0.1), class_weight=weights, solver="newton-cg", tol=1e-10).fit(h, y)
    probabilities = torch.from_numpy(logits("logistic", on, test, ridge=0.1, balance=balance, iterations=1000)).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, model.predict_proba(test), atol=1e-6)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_ridge_is_scikit_learns(on, balance):
    h, y, test, _ = data(on)
    weights = (np.array(COUNTS) ** -balance)[y]
    model = LinearRegression(alpha=len(h) * 0.05).fit(h, np.eye(4)[y], sample_weight=weights / weights.mean())
    np.testing.assert_allclose(logits("ridge", on, test, ridge=0.05, balance=balance), model.predict(test), atol=1e-6)


def test_label_over_smoothing_tends_to_ridge(on):
    test, epsilon = data(on)[2], 0.999
    smoothed = logits("convex_la", on, test, tau=0.0, epsilon=epsilon, ridge=0.02, iterations=1000) / (4 * (1 - epsilon))
    limit = logits("ridge", on, test, ridge=4 * 0.02, balance=0.0)
    np.testing.assert_allclose(smoothed - smoothed.mean(1, keepdims=True), limit - limit.mean(1, keepdims=True), atol=2e-3)
