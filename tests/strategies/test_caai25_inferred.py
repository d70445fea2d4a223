import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lt_bench.runs.check_subject import build, default, problem
from lt_bench.strategies.registry import find

COUNTS = (9, 5, 2)


def ready(**changes):
    on = problem(COUNTS, 4)
    return on, build(find("caai25_inferred"), on, torch.float64, default(find("caai25_inferred"), **changes))


def test_the_margin_is_added_to_the_angle_of_the_true_class():
    _, strategy = ready(scale=10.0, margin=0.3)
    angles = np.array([[0.2, 1.1, 2.9], [1.5, 2.0, 0.4], [3.0, 1.0, 0.9]])
    labels = [0, 1, 0]  # the last beyond pi - margin
    expected = np.cos(angles)
    for row, label in enumerate(labels):
        theta = angles[row, label]
        expected[row, label] = math.cos(theta + 0.3) if theta < math.pi - 0.3 else math.cos(theta) - 0.3 * math.sin(0.3)
    found = strategy.transform(torch.from_numpy(10 * np.cos(angles)), torch.tensor(labels))
    np.testing.assert_allclose(found.numpy(), 10 * expected, atol=1e-10)


def test_uniformity_is_the_log_mean_potential_over_pairs():
    _, strategy = ready(uniformity=2.5)
    rows = F.normalize(strategy.weight[0].detach(), dim=1).numpy()
    potential = [math.exp(-2 * ((rows[a] - rows[b]) ** 2).sum()) for a in range(3) for b in range(3) if a != b]
    assert strategy.regulariser().item() == pytest.approx(2.5 * math.log(np.mean(potential)), abs=1e-10)


def test_uniformity_takes_all_rows_in_turn_without_a_table_of_all_pairs(monkeypatch):
    monkeypatch.setattr("lt_bench.strategies.caai25_inferred.ROWS_OF_UNIFORMITY", 2)
    _, strategy = ready()
    touched = torch.zeros(3, dtype=torch.bool)
    for turn in range(3):
        strategy.zero_grad()
        strategy.regulariser().sum().backward()
        now = strategy.weight.grad[0].abs().sum(1) > 0
        assert int(now.sum()) == 2, turn
        touched |= now
        strategy.project("step")
    assert touched.all()


def test_the_norm_term_pulls_adapted_features_to_the_mean_norm():
    on, strategy = ready(norm=0.5)
    plain = on.train.view("plain")
    assert strategy.radius.item() == pytest.approx(float(plain.norm(dim=1).mean()), rel=1e-6)
    features, labels = on.sample(5, torch.float64)
    with torch.no_grad():
        strategy.gamma.fill_(2.0)
        strategy.beta.fill_(0.25)
    logits = strategy.logits(features[None])
    expected = 0.5 * ((2 * features + 0.25).norm(dim=1) - strategy.radius[0]) ** 2
    found = strategy.loss(logits, labels[None], features[None]) - strategy.loss(logits, labels[None])
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-10)


def test_inference_is_without_margin_and_with_the_adapter():
    on, strategy = ready(scale=7.0)
    features = on.sample(5, torch.float64)[0]
    with torch.no_grad():
        strategy.gamma.uniform_(0.5, 1.5)
        strategy.beta.uniform_(-0.2, 0.2)
    adapted = features * strategy.gamma[0] + strategy.beta[0]
    expected = 7 * F.normalize(adapted, dim=1) @ F.normalize(strategy.weight[0], dim=1).T
    torch.testing.assert_close(strategy.inference_head()(features), expected.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(strategy.logits(features[None])[0], expected, rtol=0, atol=1e-10)


def test_nothing_of_it_is_called_official():
    entry = find("caai25_inferred")
    assert entry.inferred
    assert not entry.is_official("cifar100_lt", 100)
