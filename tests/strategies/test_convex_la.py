import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from lt_bench.bench.contract.subject import fit, job, problem
from lt_bench.bench.health import signs_of_fit
from lt_bench.strategies import convex_la
from lt_bench.strategies._lib import lbfgs
from lt_bench.strategies._lib.class_weights import log_prior
from lt_bench.strategies._lib.lbfgs import CONVERGED, moments
from lt_bench.strategies._lib.lbfgs import _moments as of_moments
from lt_bench.strategies._lib.lbfgs import minimise as minimise_head
from lt_bench.strategies.registry import find

COUNTS = (30, 12, 4)
DIM = 4


def log_softmax(z):
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def numpy_objective(flat, on, tau, ridge, spread=0.0, rarity=0.0, epsilon=0.0):
    """The objective written out with the table of class pairs."""
    h, y, n = on.train.view("plain").double().numpy(), on.train.labels.numpy(), np.asarray(COUNTS, float)
    W, b = flat[: 3 * DIM].reshape(3, DIM), flat[3 * DIM :]
    means = np.stack([h[y == c].mean(0) for c in range(3)])
    S = (h - means[y]).T @ (h - means[y]) / len(h)
    width = (n / n.max()) ** -rarity
    width = spread * width / (width @ n / n.sum())
    pairs = np.array([[(W[c] - W[k]) @ S @ (W[c] - W[k]) for c in range(3)] for k in range(3)])
    z = h @ W.T + b + tau * np.log(n / n.sum()) + width[y][:, None] / 2 * pairs[y]
    q = np.full(z.shape, epsilon / 3)
    q[np.arange(len(y)), y] += 1 - epsilon
    return -(q * log_softmax(z)).sum(1).mean() + ridge / 2 * (W**2).sum()


def solution(name, on, **changes):
    head = fit(on, [job(find(name), **changes)], torch.float64)[0].head().inference_head()
    return np.concatenate([head.weight.numpy().ravel(), head.bias.numpy()])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("convex_la", {"tau": 1.0, "ridge": 1e-2}),
        ("convex_la", {"tau": 1.3, "ridge": 1.0}),
        ("marginal_la", {"tau": 1.0, "ridge": 1e-2, "spread": 0.4, "rarity": 0.5}),
        ("marginal_la", {"tau": 0.7, "ridge": 0.1, "spread": 2.0, "rarity": 0.0}),
        ("convex_la", {"tau": 0.0, "ridge": 1e-3, "epsilon": 0.98}),
    ],
)
def test_the_head_is_the_minimum(name, changes):
    on = problem(COUNTS, DIM)

    def objective(flat):
        return numpy_objective(flat, on, **changes)

    actual = solution(name, on, **changes)
    best = minimize(objective, actual, method="BFGS", options={"gtol": 1e-9})
    assert objective(actual) - best.fun < 1e-9
    assert objective(actual) < objective(np.zeros_like(actual)) - 1e-6
    gradient = np.array([(objective(actual + 1e-5 * e) - objective(actual - 1e-5 * e)) / 2e-5 for e in np.eye(actual.size)])
    assert np.abs(gradient).max() < 1e-6


def test_without_noise_the_marginal_loss_is_the_plain_one():
    on = problem(COUNTS, DIM)
    plain, marginal = (solution(name, on, ridge=0.01, **extra) for name, extra in (("convex_la", {}), ("marginal_la", {"spread": 0.0})))
    np.testing.assert_allclose(marginal, plain, atol=1e-6)


def test_the_marginal_loss_bounds_the_mean_loss_under_noise():
    on = problem(COUNTS, DIM)
    strategy = find("marginal_la").load()(on.facts, spread=0.5, rarity=0.5).double()
    of_features = moments(on.train, 3)
    weight, bias = on.facts.head.weight.double(), on.facts.head.bias.double()
    rows, labels = on.train.view("plain").double(), on.train.labels
    bound = strategy.sample_losses(rows, labels, weight, bias, of_features)
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(of_features.within)
    noise = torch.randn(4000, *rows.shape, generator=generator, dtype=torch.float64) @ root.T * strategy.width[labels].sqrt().unsqueeze(1)
    logits = (rows + noise) @ weight.T + bias + log_prior(strategy.class_counts.double(), strategy.tau)
    mean = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.repeat(4000), reduction="none").view(4000, -1).mean(0)
    plain = torch.nn.functional.cross_entropy(
        rows @ weight.T + bias + log_prior(strategy.class_counts.double(), strategy.tau), labels, reduction="none"
    )
    assert (bound > mean - 0.01).all()
    assert (bound > plain).all()


def test_the_width_of_the_noise_has_the_given_mean_and_ratio():
    on = problem(COUNTS, DIM)
    width = find("marginal_la").load()(on.facts, spread=0.3, rarity=0.5).width.double()
    counts = torch.tensor(COUNTS, dtype=torch.float64)
    assert float((width * counts).sum() / counts.sum()) == pytest.approx(0.3, rel=1e-6)
    assert float(width[2] / width[0]) == pytest.approx((30 / 4) ** 0.5, rel=1e-6)


def test_the_solution_depends_neither_on_seed_nor_on_how_rows_are_split(monkeypatch):
    whole = solution("marginal_la", problem(COUNTS, DIM))
    monkeypatch.setattr("lt_bench.strategies._lib.lbfgs.HELD_NUMBERS", 0)
    np.testing.assert_array_equal(solution("marginal_la", problem(COUNTS, DIM)), whole)
    monkeypatch.setattr("lt_bench.strategies._lib.lbfgs.CHUNK_NUMBERS", 15)
    on = problem(COUNTS, DIM)
    head = fit(on, [job(find("marginal_la"), 3)], torch.float64)[0].head().inference_head()
    np.testing.assert_allclose(np.concatenate([head.weight.numpy().ravel(), head.bias.numpy()]), whole, atol=1e-5)


def test_heads_with_the_same_hyperparameters_are_solved_once(monkeypatch):
    calls, passes = [], []
    monkeypatch.setattr(convex_la, "minimise", lambda *arguments: calls.append(1) or minimise_head(*arguments))
    monkeypatch.setattr(lbfgs, "_moments", lambda *arguments: passes.append(1) or of_moments(*arguments))
    on, entry = problem(COUNTS, DIM), find("convex_la")
    one, same, other = (fitted.strategy for fitted in fit(on, [job(entry), job(entry, 1), job(entry, ridge=0.5)]))
    assert (len(calls), len(passes)) == (2, 1)
    assert torch.equal(one.weight, same.weight)
    assert one.solved == same.solved
    assert not torch.allclose(one.weight, other.weight)
    fit(problem(COUNTS, DIM), [job(entry)])
    assert (len(calls), len(passes)) == (3, 2), "other training features have solutions of their own"


def test_the_record_keeps_how_close_to_the_minimum_the_solver_came():
    on, entry = problem(COUNTS, DIM), find("convex_la")
    rows = {count: fit(on, [job(entry, ridge=1e-3, iterations=count)])[0].history[0] for count in (2, 200)}
    assert [len(row) for row in rows.values()] == [1, 1]
    assert rows[200][0]["gradient_norm"] < CONVERGED < rows[2][0]["gradient_norm"]
    assert rows[200][0]["loss"] < rows[2][0]["loss"]
    assert rows[2][0]["iterations"] == 2
    head = fit(on, [job(entry, ridge=1e-3)], torch.float64)[0].head().inference_head()
    flat = np.concatenate([head.weight.numpy().ravel(), head.bias.numpy()])
    assert rows[200][0]["loss"] == pytest.approx(numpy_objective(flat, on, 1.0, 1e-3), rel=1e-6)


def test_an_unconverged_solution_is_a_sign():
    on, entry = problem(COUNTS, DIM), find("convex_la")
    signs = {count: signs_of_fit(fit(on, [job(entry, ridge=1e-3, iterations=count)])[0], 0) for count in (2, 200)}
    assert signs[2]["unconverged"] > CONVERGED
    assert signs[200] == {}
