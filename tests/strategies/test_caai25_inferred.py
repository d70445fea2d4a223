import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lt_bench.bench.contract.subject import build, hyperparameters, job, problem
from lt_bench.core.processes import Processes
from lt_bench.engine.heads.gradients import Gradients, Share
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.strategies._lib.caai25 import adapted_cosines, log_mean_potential, turned
from lt_bench.strategies.contract import Batch, Strategy
from lt_bench.strategies.registry import find

COUNTS = (9, 5, 2)


def ready(**changes):
    on = problem(COUNTS, 4)
    return on, build(find("caai25_inferred"), on, torch.float64, [job(find("caai25_inferred"), **changes)])


def test_the_margin_is_added_to_the_angle_of_the_true_class():
    _, strategy = ready(scale=10.0, margin=0.3)
    angles = np.array([[0.2, 1.1, 2.9], [1.5, 2.0, 0.4], [3.0, 1.0, 0.9]])
    labels = [0, 1, 0]  # the last beyond pi - margin
    expected = np.cos(angles)
    for row, label in enumerate(labels):
        theta = angles[row, label]
        expected[row, label] = math.cos(theta + 0.3) if theta < math.pi - 0.3 else math.cos(theta) - 0.3 * math.sin(0.3)
    actual = strategy.transform(torch.from_numpy(10 * np.cos(angles)), torch.tensor(labels))
    np.testing.assert_allclose(actual.numpy(), 10 * expected, atol=1e-10)


def test_uniformity_is_the_log_mean_potential_over_pairs():
    _, strategy = ready(uniformity=2.5)
    rows = F.normalize(strategy.weight.detach(), dim=1).numpy()
    potential = [math.exp(-2 * ((rows[a] - rows[b]) ** 2).sum()) for a in range(3) for b in range(3) if a != b]
    assert strategy.regulariser().item() == pytest.approx(2.5 * math.log(np.mean(potential)), abs=1e-10)


def test_uniformity_takes_all_rows_in_turn_without_a_table_of_all_pairs(monkeypatch):
    monkeypatch.setattr("lt_bench.strategies.caai25_inferred.ROWS_OF_UNIFORMITY", 2)
    _, strategy = ready()
    touched = torch.zeros(3, dtype=torch.bool)
    for turn in range(3):
        strategy.zero_grad()
        strategy.regulariser().backward()
        now = strategy.weight.grad.abs().sum(1) > 0
        assert int(now.sum()) == 2, turn
        touched |= now
        strategy.project("step")
    assert touched.all()


def test_the_norm_term_pulls_adapted_features_to_the_mean_norm():
    on, strategy = ready(norm=0.5)
    plain = on.train.view("plain")
    assert strategy.radius.item() == pytest.approx(float(plain.norm(dim=1).mean()), rel=1e-6)
    batch = on.batch(5, torch.float64)
    with torch.no_grad():
        strategy.gamma.fill_(2.0)
        strategy.beta.fill_(0.25)
    logits = strategy.logits(batch.features)
    expected = 0.5 * ((2 * batch.features + 0.25).norm(dim=1) - strategy.radius) ** 2
    actual = strategy.loss(logits, batch) - Strategy.loss(strategy, logits, batch)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def test_inference_is_without_margin_and_with_the_adapter():
    on, strategy = ready(scale=7.0)
    features = on.batch(5, torch.float64).features
    with torch.no_grad():
        strategy.gamma.uniform_(0.5, 1.5)
        strategy.beta.uniform_(-0.2, 0.2)
    adapted = features * strategy.gamma + strategy.beta
    expected = 7 * F.normalize(adapted, dim=1) @ F.normalize(strategy.weight, dim=1).T
    torch.testing.assert_close(strategy.inference_head()(features), expected.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(strategy.logits(features), expected, rtol=0, atol=1e-10)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stack(batches, *values):
    """Heads of these (margin, scale, uniformity, norm), anything but where they start, with a batch (batches; 6; 4) and its labels per head."""
    entry, names = find("caai25_inferred"), ("margin", "scale", "uniformity", "norm")
    jobs = [HeadJob(entry, hyperparameters(entry, **dict(zip(names, value, strict=True))), n) for n, value in enumerate(values)]
    strategy = build(entry, problem(COUNTS, 4), torch.float64, jobs)
    for number, parameter in enumerate((strategy.weight, strategy.gamma, strategy.beta, strategy.radius)):
        parameter.data = randn(*parameter.shape, seed=number) * 0.7 + (number == 1)
    labels = torch.randint(3, (len(values), 6), generator=torch.Generator().manual_seed(8))
    features = randn(batches, 6, 4, seed=9)
    for head in range(0, len(values), len(values) // batches):  # one sample each near the opposite of its class
        away = -(strategy.weight[head, labels[head, 0]] + 0.03) - strategy.beta[head, 0]
        features[head // (len(values) // batches), 0] = (away / strategy.gamma[head, 0]).detach()
    return strategy, features, labels


def plain(strategy, features, labels, values):
    """Logits, losses and regularisers as the docstring has them, one head after the other."""
    actual = []
    for head, (margin, scale, uniformity, norm) in enumerate(values):
        h, y = features[head * len(features) // len(values)], labels[head].unsqueeze(1)
        f, w = strategy.gamma[head, 0] * h + strategy.beta[head, 0], strategy.weight[head]
        u = w / w.norm(dim=1, keepdim=True)
        cosines = f @ u.T / f.norm(dim=1, keepdim=True)
        theta = cosines.gather(1, y).acos()
        beyond = theta > math.pi - margin
        true = torch.where(beyond, theta.cos() - margin * math.sin(margin), (theta + margin).cos())
        losses = F.cross_entropy(scale * cosines.scatter(1, y, true), labels[head], reduction="none")
        losses = losses + norm * (f.norm(dim=1) - strategy.radius[head]) ** 2
        pairs = [(u[a] - u[b]).square().sum() for a in range(3) for b in range(3) if a != b]
        actual.append((scale * cosines, losses, uniformity * (-2 * torch.stack(pairs)).exp().mean().log(), beyond.any()))
    return [torch.stack(parts) for parts in zip(*actual, strict=True)]


FOUR = [(0.3, 16.0, 1.0, 0.5), (0.0, 5.0, 0.0, 0.0), (0.5, 8.0, 2.5, 0.1), (0.3, 30.0, 1.0, 2.0)]


@pytest.mark.parametrize("batches", [1, 2, 4])
def test_logits_losses_and_all_gradients_are_those_of_the_formula(batches):
    strategy, features, labels = stack(batches, *FOUR)
    trained = [strategy.weight, strategy.gamma, strategy.beta, strategy.radius]
    logits, losses, penalty, beyond = plain(strategy, features, labels, FOUR)
    assert beyond.any()  # both forms of the margin take part
    assert not beyond.all()
    expected = torch.autograd.grad((losses.mean(1) + penalty).sum(), trained)
    close = {"rtol": 1e-9, "atol": 1e-9}

    actual = strategy.logits(features)
    torch.testing.assert_close(actual, logits, **close)
    for given in (actual, actual.clone()):  # with the norms it was made with, and without
        torch.testing.assert_close(strategy.loss(given, Batch(features, labels, labels)), losses, **close)
        total = strategy.loss(given, Batch(features, labels, labels)).mean(1) + strategy.regulariser()
        for one, other in zip(torch.autograd.grad(total.sum(), trained, retain_graph=True), expected, strict=True):
            torch.testing.assert_close(one, other, **close)

    actual, objective = Gradients(strategy)(Share(Batch(features, labels, labels), labels, Processes()))
    torch.testing.assert_close(actual, logits.detach(), **close)
    torch.testing.assert_close(objective, losses.detach().mean(1), **close)
    for parameter, gradient in zip(trained, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, **close)


@pytest.mark.parametrize("batches", [1, 2, 4])
def test_gradients_written_down_are_those_of_finite_differences(batches):
    features, scale = randn(batches, 5, 3), torch.tensor([1.0, 3.0, 0.5, 16.0], dtype=torch.float64)
    weight, gamma, beta = (randn(*shape, seed=n).requires_grad_() for n, shape in enumerate([(4, 6, 3), (4, 1, 3), (4, 1, 3)]))
    by_head = scale.view(4, 1, 1)
    features.requires_grad_()  # where the network is trained too
    assert torch.autograd.gradcheck(lambda *trained: adapted_cosines(*trained, by_head), (features, weight, gamma, beta))
    assert torch.autograd.gradcheck(lambda *trained: adapted_cosines(*trained, by_head)[1], (features, weight[:, :0].detach(), gamma, beta))
    assert torch.autograd.gradcheck(log_mean_potential, (weight,))
    cosines, labels = torch.linspace(-0.97, 0.97, 60, dtype=torch.float64).view(4, 5, 3), torch.tensor([[0, 2, 1, 1, 0]])
    logits, margin = (by_head * cosines).requires_grad_(), torch.tensor([[0.0], [0.5], [0.2], [1.1]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda logits: turned(logits, labels, margin, scale.view(4, 1)), (logits,))


def test_no_angle_is_turned_with_a_slope_without_bounds():
    logits = torch.tensor([[2.0, 0.0], [-2.0, 0.0]], dtype=torch.float64, requires_grad=True)
    margin, scale = (torch.tensor(value, dtype=torch.float64) for value in (0.3, 2.0))
    (actual,) = torch.autograd.grad(turned(logits, torch.tensor([0, 0]), margin, scale).sum(), logits)
    torch.testing.assert_close(actual, torch.tensor([[math.cos(0.3), 1.0], [1.0, 1.0]], dtype=torch.float64))


def test_what_has_no_direction_counts_as_torchs_normalize_has_it():
    features, weight, gamma, beta = (
        randn(2, 5, 3),
        randn(2, 4, 3, seed=1),
        randn(2, 1, 3, seed=2),
        torch.zeros(2, 1, 3, dtype=torch.float64),
    )
    features[0, 1], features[1, 2], weight[0, 3], weight[1, 0] = 0, features[1, 2] * 1e-14, 0, weight[1, 0] * 1e-14
    trained = [tensor.requires_grad_() for tensor in (weight, gamma, beta)]
    actual = adapted_cosines(features, *trained, 5.0)[0]
    expected = 5 * F.normalize(gamma * features + beta, dim=-1) @ F.normalize(weight, dim=-1).mT
    torch.testing.assert_close(actual, expected)
    outward = randn(2, 5, 4, seed=3)
    for one, other in zip(torch.autograd.grad(actual, trained, outward), torch.autograd.grad(expected, trained, outward), strict=True):
        torch.testing.assert_close(one, other)
    pairs = (F.normalize(weight, dim=-1) @ F.normalize(weight, dim=-1).mT * 4 - 4).masked_fill(torch.eye(4, dtype=torch.bool), -math.inf)
    potential = pairs.flatten(1).logsumexp(1) - math.log(12)
    torch.testing.assert_close(log_mean_potential(weight), potential)
    torch.testing.assert_close(*(torch.autograd.grad(of.sum(), weight)[0] for of in (log_mean_potential(weight), potential)))


def test_a_step_measures_the_features_once_and_no_norms_are_stale(monkeypatch):
    strategy, features, labels = stack(2, *FOUR)
    adapted = type(strategy)._adapted

    def losses(logits, features):
        batch = Batch(features, labels, labels)
        return strategy.loss(logits, batch) - Strategy.loss(strategy, logits, batch)

    def expected(features):
        norms = (strategy.gamma * strategy.per_head(features) + strategy.beta).norm(dim=-1)
        return strategy.norm * (norms - strategy.radius) ** 2

    torch.testing.assert_close(losses(strategy.logits(features * 2), features * 3), expected(features * 3))  # logits of other features
    with torch.no_grad():
        for changed in (features, strategy.gamma, strategy.beta):
            logits = strategy.logits(features)
            changed.add_(0.5)
            torch.testing.assert_close(losses(logits, features), expected(features))
            with torch.enable_grad():
                logits = strategy.logits(features)
            changed.add_(0.5)
            torch.testing.assert_close(losses(logits, features), expected(features))
    measured = []
    monkeypatch.setattr(type(strategy), "_adapted", lambda self, *given: measured.append(1) or adapted(self, *given))
    Gradients(strategy)(Share(Batch(features, labels, labels), labels, Processes()))
    assert measured == [1]


def test_nothing_of_it_is_called_official():
    entry = find("caai25_inferred")
    assert entry.inferred
    assert not entry.is_official("cifar100_lt", 100)
