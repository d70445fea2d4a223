"""Heads of 2022 to 2026, each against its formula written out another way."""

import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from scipy.special import logsumexp

from lt_bench.bench.contract.subject import fit, job, problem
from lt_bench.core.inference_heads import head_from, head_parts
from lt_bench.core.shortlist_head import Shortlist
from lt_bench.engine.heads.fit import fit_heads
from lt_bench.features.cache import FeatureSplit
from lt_bench.strategies.registry import find


def test_ala_takes_a_margin_by_rarity_and_difficulty(batch, make):
    logits, given = batch.tensors
    rarity = np.log(2) / np.log(batch.n / batch.n.min() + 1)
    own = np.eye(len(batch.n))[batch.y]
    shifted = batch.z - own * rarity[batch.y][:, None] * 17.0 * (1 - batch.z / 17.0) / 2
    expected = F.cross_entropy(torch.from_numpy(shifted), given.labels, reduction="none")
    torch.testing.assert_close(make("ala", scale=17.0).loss(logits, given), expected)
    assert make("ala", scale=17.0).loss(torch.full_like(logits, 17.0), given)[0] == pytest.approx(np.log(len(batch.n)))


def test_arb_is_balanced_softmax_by_the_classes_of_the_batch(batch, make):
    logits, given = batch.tensors
    m = np.bincount(batch.y, minlength=len(batch.n))
    ratios = m[None, :] / m[batch.y][:, None]
    expected = logsumexp(batch.z, axis=1, b=ratios) - batch.z[np.arange(len(batch.y)), batch.y]
    np.testing.assert_allclose(make("arb").loss(logits, given), expected, rtol=1e-9, atol=1e-9)
    balanced = logsumexp(batch.z, axis=1, b=batch.n[None, :] / batch.n[batch.y][:, None]) - batch.z[np.arange(len(batch.y)), batch.y]
    np.testing.assert_allclose(make("balanced_softmax").loss(logits, given), balanced, rtol=1e-9, atol=1e-9)


def test_vs_adrw_truncates_temperatures_where_its_weights_begin(batch, make):
    logits, given = batch.tensors
    strategy = make("vs_adrw", epochs=10, deferral=0.6, rho=0.3, gamma=0.2, tau=0.8)
    prior = 0.8 * np.log(batch.n / batch.n.sum())
    weight = (batch.n / batch.n.sum()) ** -0.3
    weight *= len(weight) / weight.sum()
    for epoch, factor, of_class in (
        (0, (batch.n / batch.n.max()) ** 0.2, np.ones_like(weight)),
        (6, 1.0, weight),
        (0, (batch.n / batch.n.max()) ** 0.2, np.ones_like(weight)),
    ):
        strategy.start_epoch(epoch)
        losses = F.cross_entropy(torch.from_numpy(batch.z * factor + prior), given.labels, reduction="none")
        torch.testing.assert_close(strategy.loss(logits, given), losses * torch.from_numpy(of_class[batch.y]))
        np.testing.assert_allclose(strategy.denominator(given.labels), of_class[batch.y].sum())


def test_npe_learns_the_log_prior_of_each_class_alone():
    on = problem((17, 9, 4))
    decay = 1e-2
    head: Any = fit(on, [job(find("npe"), decay=decay)], torch.float64)[0].head().inference_head()
    features, labels = on.train.view("plain").double().numpy(), on.train.labels.numpy()
    layer = np.zeros((3, features.shape[1] + 1))
    for c in range(3):  # the classes do not meet in the loss
        rows = np.c_[features[labels == c], np.ones((labels == c).sum())]
        layer[c] = minimize(lambda p, rows=rows: np.logaddexp(0, rows @ p).sum() / len(labels) + decay / 2 * p @ p, layer[c], tol=1e-12).x
    layer -= layer.mean(0)
    assert on.facts.head is not None
    np.testing.assert_allclose(head.weight - on.facts.head.weight.double(), layer[:, :-1], atol=1e-5)
    np.testing.assert_allclose(head.bias - on.facts.head.bias.double(), layer[:, -1], atol=1e-5)
    assert list(np.argsort(layer.sum(1))) == [0, 1, 2], "the more frequent, the more is taken off"


def written_out(g: np.ndarray, n: np.ndarray, a: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """r of one shortlist (k,), pair by pair as the released code has it."""
    k, p, rank = len(g), np.exp(g - logsumexp(g)), np.argsort(np.argsort(-g))
    r = g + a
    for y in range(k):
        for j in range(k):
            if j != y:
                phi = [g[y] - g[j], rank[j] - rank[y], np.log(p[y] / (p[j] + 1e-10) + 1e-10), np.log((n[y] + 1) / (n[j] + 1))]
                r[y] += theta @ phi / (k - 1)
    return r


@pytest.fixture(scope="module")
def reranked():
    """A fitted ``repair`` of a shortlist of 3 of 5 classes, its features and the validation images that it learned from."""
    on, generator = problem((40, 20, 9, 5, 2)), torch.Generator().manual_seed(1)
    labels = torch.arange(5).repeat_interleave(12)
    means = torch.stack([on.train.view("plain")[on.train.labels == c].mean(0) for c in range(5)])
    features = means[labels] + 0.2 * torch.randn(60, means.shape[1], generator=generator)
    val = FeatureSplit("val", ("plain",), (features,), labels, torch.arange(60))
    one = job(find("repair"), k=3, tau=0.5, decay=0.01, pair_decay=0.02, rare=0.4)
    return on, val, fit_heads([[one]], on.facts, on.train, dtype=torch.float64, held_out=val)[0].head().inference_head()


def test_repair_ranks_its_shortlist_as_the_released_code(reranked):
    on, val, head = reranked
    assert isinstance(head, Shortlist)
    n, x = np.array(on.facts.class_counts), val.view("plain").double()[:12]
    z = F.linear(x, head.weight, head.bias).numpy()
    for row, logits in zip(z, head(x).numpy(), strict=True):
        adjusted = row - 0.5 * np.log(n / n.sum())
        listed = np.argsort(-row)[:3]
        expected = written_out(adjusted[listed], n[listed], head.offsets.numpy()[listed], head.theta.numpy())
        np.testing.assert_allclose(logits[listed], expected, rtol=1e-9, atol=1e-9)
        rest = np.setdiff1d(np.arange(5), listed)
        np.testing.assert_allclose(logits[rest], np.minimum(adjusted[rest], expected.min()), rtol=1e-9, atol=1e-9)
    again = head_from(*(json.loads(json.dumps(parts)) if number == 0 else parts for number, parts in enumerate(head_parts(head) or ())))
    torch.testing.assert_close(again(x), head(x))


def test_repair_learns_what_maximises_the_likelihood_of_the_covered(reranked):
    on, val, head = reranked
    n = np.array(on.facts.class_counts)
    z = F.linear(val.view("plain").double(), head.weight, head.bias).numpy()
    listed = np.argsort(-z, axis=1)[:, :3]
    covered = [i for i, y in enumerate(val.labels.tolist()) if y in listed[i]]
    rare = np.array([(n[val.labels[i]] + 1) ** -0.5 for i in covered])
    weights = 0.6 / len(covered) + 0.4 * rare / rare.sum()

    def objective(values):
        total = 0.01 * (values[:5] ** 2).sum() + 0.02 * (values[5:] ** 2).sum()
        for weight, i in zip(weights, covered, strict=True):
            of = listed[i]
            r = written_out((z[i] - 0.5 * np.log(n / n.sum()))[of], n[of], values[:5][of], values[5:])
            total -= weight * (r[list(of).index(int(val.labels[i]))] - logsumexp(r))
        return total

    solution = np.concatenate([head.offsets.numpy(), head.theta.numpy()])
    least = objective(solution)
    assert least < objective(np.zeros(9))
    for place in range(9):
        step = np.eye(9)[place] * 1e-3
        assert min(objective(solution + step), objective(solution - step)) >= least - 1e-9
