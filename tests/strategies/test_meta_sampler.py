from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lt_bench.bench.contract.subject import build, default, fit, problem
from lt_bench.engine.heads.gradients import Batch
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.registry import find

COUNTS = (30, 9, 2)


def ready(heads=1, **changes):
    on = problem(COUNTS, 4, heads=heads)
    strategy = build(find("meta_sampler"), on, torch.float64, default(find("meta_sampler"), lr=0.7, weight_decay=0.02, **changes) * heads)
    strategy.configure_optimizers()
    return on, strategy


def test_influence_is_the_derivative_through_the_inner_step():
    on, strategy = ready()
    features, labels = on.sample(6, torch.float64)
    meta_features, meta_labels = on.sample(9, torch.float64)
    weights = torch.ones(6, dtype=torch.float64, requires_grad=True)
    weight, bias = strategy.weight[0], strategy.bias[0]
    prior = torch.tensor(COUNTS, dtype=torch.float64).log()
    inner = (weights * F.cross_entropy(features @ weight.T + bias + prior, labels, reduction="none")).mean()
    step_w, step_b = torch.autograd.grad(inner, (strategy.weight, strategy.bias), create_graph=True)
    moved_w, moved_b = weight - 0.7 * (step_w[0] + 0.02 * weight), bias - 0.7 * (step_b[0] + 0.02 * bias)
    (expected,) = torch.autograd.grad(F.cross_entropy(meta_features @ moved_w.T + moved_b, meta_labels), weights)
    logits, _ = strategy.gradients(Batch(features[None], labels[None], labels[None]))
    with torch.no_grad():
        found = strategy.influence(features[None], labels[None], logits, meta_features[None], meta_labels[None])
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-10)


def test_rates_start_inverse_to_a_power_of_the_prior():
    _, strategy = ready(init_power=0.5)
    prior = np.asarray(COUNTS) / sum(COUNTS)
    rarity = prior**-0.5
    np.testing.assert_allclose(strategy.rate_logit[0].sigmoid().numpy(), rarity / (rarity.min() + rarity.max()), rtol=1e-6)


@contextmanager
def trained_rows(on):
    """The rows of batches that steps are taken on, which are not; the numbers of the batches are made as ever."""
    rows = []

    def record(self, index):
        rows.append(index)
        labels = on.train.labels[index % len(on.train)]
        return Batch(on.train.gather(index).to(self.dtype), labels, labels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Strategy, "batch_of", record)
        patch.setattr(Strategy, "finish_step", lambda self, batch, logits, objective, optimizer: None)
        yield rows


def test_batches_are_drawn_by_rate_times_count():
    on, strategy = ready(init_power=1.0, meta_lr=0.0)
    with trained_rows(on) as rows:
        strategy.fit_step(torch.zeros(1, 60000, dtype=torch.long), None)
    drawn = on.train.labels[rows[0] % len(on.train)]
    rates = strategy.rate_logit[0].sigmoid().double().numpy() * np.asarray(COUNTS)
    share = np.bincount(drawn[0].numpy(), minlength=3) / 60000
    np.testing.assert_allclose(share, rates / rates.sum(), atol=0.01)


def test_views_are_those_of_the_given_order():
    on, strategy = ready()
    with trained_rows(on) as seen:
        order = torch.arange(40).unsqueeze(0) % (2 * len(on.train))
        strategy.fit_step(order, None)
    assert torch.equal(seen[0] // len(on.train), order // len(on.train))


def test_adam_is_that_of_torch():
    _, strategy = ready(meta_lr=0.03)
    rates = torch.nn.Parameter(strategy.rate_logit.clone())
    optimizer = torch.optim.Adam([rates], lr=0.03)
    for seed in range(5):
        gradient = torch.randn(rates.shape, generator=torch.Generator().manual_seed(seed), dtype=rates.dtype)
        rates.grad = gradient
        optimizer.step()
        strategy.adam(gradient)
    torch.testing.assert_close(strategy.rate_logit, rates.detach(), rtol=0, atol=1e-6)


def test_without_balanced_softmax_the_learned_rates_favour_the_rare_class(monkeypatch):
    monkeypatch.setattr("lt_bench.strategies.balanced_softmax.BalancedSoftmax.transform", lambda self, logits, labels: logits)
    on = problem((200, 6), 4)
    fitted = fit(on, default(find("meta_sampler"), init_power=0.0, meta_lr=0.1, lr=1.0, batch_size=16, meta_batch_size=64)).strategy
    rates = fitted.rate_logit[0].sigmoid()
    assert rates[1] > 1.3 * rates[0]


@pytest.mark.parametrize(("source", "held"), [("train", [0, 0, 0]), ("held_out", [3, 1, 1])])
def test_what_is_held_out_is_never_trained_on_and_the_balanced_batch_is_drawn_from_it_alone(source, held):
    on, strategy = ready(meta_source=source, meta_batch_size=3000)
    met = []
    with pytest.MonkeyPatch.context() as patch, trained_rows(on) as trained:
        patch.setattr(type(on.train), "gather", lambda self, rows: met.append(rows) or self.view("plain")[rows % len(self)])
        strategy.fit_step(torch.zeros(1, 3000, dtype=torch.long), None)
    trained, met = set(trained[0].flatten().tolist()), set(met[1].flatten().tolist())
    first = torch.arange(sum(COUNTS))[torch.cat([torch.arange(n) < n - out for n, out in zip(COUNTS, held, strict=True)])].tolist()
    assert trained == set(first)
    assert met == (set(range(sum(COUNTS))) - trained if any(held) else trained)


def test_a_class_of_one_sample_is_in_both():
    on = problem((12, 1), 3)
    strategy = build(find("meta_sampler"), on, torch.float64, default(find("meta_sampler"), meta_source="held_out"))
    assert (strategy.counts.tolist(), strategy.meta_counts.tolist()) == ([10, 1], [2, 1])
    assert (strategy.starts.tolist(), strategy.meta_starts.tolist()) == ([0, 12], [10, 12])
