"""standardised_la and prototype_la against numpy, and their limits."""

import dataclasses
import importlib

import numpy as np
import pytest
import torch

from lt_bench.bench.contract.subject import fit, job, problem
from lt_bench.core.inference_heads import head_from, head_parts
from lt_bench.strategies._lib.foreign_logits import logits_on_others
from lt_bench.strategies.registry import find

COUNTS = (30, 12, 4)


def fitted_head(name, on, **changes):
    return fit(on, [job(find(name), **changes)], torch.float64)[0].head().inference_head()


def parts(on):
    h, y = on.train.view("plain").double().numpy(), on.train.labels.numpy()
    W, b = on.facts.head.weight.double().numpy(), on.facts.head.bias.double().numpy()
    z, n = h @ W.T + b, np.bincount(y)
    sigma = np.array([z[y != c, c].std() for c in range(len(n))])
    return h, y, z, n, sigma


@pytest.mark.parametrize("name", ["standardised_la", "prototype_la"])
def test_off_it_is_logit_adjustment(name):
    on = problem(COUNTS, 4)
    features = on.batch(20, torch.float64).features
    off = {"power": 0.0, "shift": 0.0} if name == "standardised_la" else {"mix": 0.0}
    ours, plain = fitted_head(name, on, tau=0.7, **off), fitted_head("logit_adjustment", on, tau=0.7)
    torch.testing.assert_close(ours(features), plain(features), rtol=0, atol=1e-10)


def test_standardised_logits_have_equal_spreads():
    on = problem(COUNTS, 4)
    h, y, z, n, sigma = parts(on)
    mu = np.array([z[y != c, c].mean() for c in range(3)])
    mean, deviation = logits_on_others(on.facts.head.weight, on.facts.head.bias, on.train)
    np.testing.assert_allclose(deviation.numpy(), sigma, rtol=1e-6)
    np.testing.assert_allclose(mean.numpy(), mu, rtol=1e-6)
    logits = fitted_head("standardised_la", on, power=1.0, shift=0.5, tau=0.5)(torch.from_numpy(h)).numpy()
    expected = (z - 0.5 * mu) / (sigma / sigma.mean()) - 0.5 * np.log(n / n.sum())
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose([logits[y != c, c].std() for c in range(3)], sigma.mean(), rtol=1e-5)


def test_the_prototypes_are_class_means_seen_from_their_own_mean():
    on = problem(COUNTS, 4)
    h, y, z, n, sigma = parts(on)
    means = np.stack([h[y == c].mean(0) for c in range(3)])
    centre = means.mean(0)
    unit = (means - centre) / np.linalg.norm(means - centre, axis=1, keepdims=True)
    cosine = (h - centre) @ unit.T / np.linalg.norm(h - centre, axis=1, keepdims=True)
    head = fitted_head("prototype_la", on, mix=2.5, tau=0.5)
    expected = z - 0.5 * np.log(n / n.sum()) + 2.5 * sigma.mean() * cosine
    features = torch.from_numpy(h)
    np.testing.assert_allclose(head(features).numpy(), expected, atol=1e-5)
    parts_of_head = head_parts(head)
    assert parts_of_head is not None
    torch.testing.assert_close(head_from(*parts_of_head)(features), head(features))


def test_a_class_without_samples_is_never_predicted_and_a_still_logit_is_not_blown_up():
    on = problem((9, 0, 4), 4)
    logits = fit(on, [job(find("prototype_la"))], torch.float64)[0].module()(on.train.view("plain").double())
    assert logits.shape[-1] == 3
    assert logits[:, 1].eq(-torch.inf).all()
    assert logits[:, [0, 2]].isfinite().all()
    still = torch.zeros_like(on.facts.head.weight[:1])
    weight = torch.cat([still, on.facts.head.weight[1:]])
    _, deviation = logits_on_others(weight, on.facts.head.bias, on.train)
    assert 0 < float(deviation[0]) <= 1.1e-3 * float(deviation.mean())


@pytest.mark.parametrize(
    ("name", "helper"), [("standardised_la", "foreign_logits._logits_on_others"), ("prototype_la", "class_means._class_means")]
)
def test_a_grid_of_heads_passes_over_the_features_once(monkeypatch, name, helper):
    module, _, function = helper.partition(".")
    where = importlib.import_module(f"lt_bench.strategies._lib.{module}")
    original, passes = getattr(where, function), []
    monkeypatch.setattr(where, function, lambda *arguments: passes.append(1) or original(*arguments))
    on = problem(COUNTS, 4)
    heads = [fitted.head().inference_head() for fitted in fit(on, [job(find(name), tau=tau) for tau in (0.0, 1.0, 2.0)])]
    assert len(passes) == 1
    assert not torch.equal(heads[0].bias, heads[1].bias)
    fit(problem((5, 4, 3), 4), [job(find(name))])
    assert len(passes) == 2


def scatter_scores(on, h, ridge):
    """v_c u / s of features (N, D), written out: all views for centre, scatter and means, the plain one for s."""

    def g(x):
        return np.sign(x) * np.sqrt(np.abs(x))

    y, views = on.train.labels.numpy(), [on.train.view(name).double().numpy() for name in on.train.views]
    centre = g(np.concatenate(views)).mean(0)

    def u(x):
        return (g(x) - centre) / np.linalg.norm(g(x) - centre, axis=1, keepdims=True)

    every, labels = u(np.concatenate(views)), np.tile(y, len(views))
    S = every.T @ every / len(every)
    v = np.linalg.solve(S + ridge * np.trace(S) / len(S) * np.eye(len(S)), np.stack([every[labels == c].mean(0) for c in range(3)]).T).T
    plain = u(views[0]) @ v.T
    return u(h) @ v.T / np.mean([plain[y != c, c].std() for c in range(3)])


@pytest.mark.parametrize("power", [0.0, 0.75])
def test_scatter_prototypes_are_what_their_docstring_says(power):
    on = problem(COUNTS, 4)
    h, _, z, n, sigma = parts(on)
    head = fitted_head("scatter_prototypes", on, power=power, mix=0.5, tau=0.4, ridge=0.03)
    expected = z / (sigma.mean() ** (1 - power) * sigma**power) + 0.5 * scatter_scores(on, h, 0.03) - 0.4 * np.log(n / n.sum())
    features = torch.from_numpy(h)
    np.testing.assert_allclose(head(features).numpy(), expected, atol=1e-6)
    parts_of_head = head_parts(head)
    assert parts_of_head is not None
    torch.testing.assert_close(head_from(*parts_of_head)(features), head(features))


def test_without_a_stage_1_head_its_term_is_absent():
    on = problem(COUNTS, 4)
    bare = dataclasses.replace(on, facts=dataclasses.replace(on.facts, head=None))
    h, _, _, n, _ = parts(on)
    head = fitted_head("scatter_prototypes", bare, mix=1.0, tau=0.4, ridge=0.1)
    np.testing.assert_allclose(head(torch.from_numpy(h)).numpy(), scatter_scores(on, h, 0.1) - 0.4 * np.log(n / n.sum()), atol=1e-6)


def test_los_with_prototypes_is_a_sum_of_three_parts_of_unit_spread():
    on = problem(COUNTS, 4)
    h, y, z, n, sigma = parts(on)
    given = {"epochs": 3, "lr": 0.05}
    los = fitted_head("los", on, **given)(torch.from_numpy(h)).detach().numpy()
    own = np.mean([los[y != c, c].std() for c in range(3)])
    head = fitted_head("los_prototypes", on, power=0.0, mix=0.3, tau=0.2, ridge=0.01, **given)
    expected = los / own + z / sigma.mean() + 0.3 * scatter_scores(on, h, 0.01) - 0.2 * np.log(n / n.sum())
    np.testing.assert_allclose(head(torch.from_numpy(h)).detach().numpy(), expected, atol=1e-6)
