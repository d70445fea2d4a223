"""Corrections of the stage-1 logits: what they compute, what they train, and what they fold into."""

import numpy as np
import pytest
import torch

from lt_bench.strategies.contract import Batch

EXACT = {"rtol": 1e-10, "atol": 1e-12}


def perturbed(strategy):
    """The strategy with its trained parameters moved away from where they start."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in strategy.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.3)
    return strategy


def stage_1(strategy, features):
    return features.numpy() @ strategy.weight.detach().numpy().T + strategy.bias.detach().numpy()


@pytest.fixture
def features():
    return torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_disalign(make, features):
    strategy = perturbed(make("disalign"))
    scale, shift, v, b = (getattr(strategy, name).detach().numpy() for name in ("scale", "shift", "gate_weight", "gate_bias"))
    gate = 1 / (1 + np.exp(-(features.numpy() @ v + b)))
    expected = (1 + gate * scale) * stage_1(strategy, features) + gate * shift
    np.testing.assert_allclose(strategy.logits(features).detach(), expected, **EXACT)
    np.testing.assert_allclose(strategy.inference_head()(features), expected, **EXACT)


def test_disalign_starts_as_a_change_of_temperature(make, features):
    strategy = make("disalign")
    gate = 1 / (1 + np.exp(-0.1 * features.numpy().sum(1, keepdims=True)))
    np.testing.assert_allclose(strategy.logits(features).detach(), (1 + gate) * stage_1(strategy, features), rtol=1e-7)


def test_marc(make, features):
    strategy = perturbed(make("marc"))
    a, b = strategy.trainable.scale.detach().numpy(), strategy.trainable.shift.detach().numpy()
    expected = a * stage_1(strategy, features) + b * np.linalg.norm(strategy.weight.detach().numpy(), axis=1)
    np.testing.assert_allclose(strategy.logits(features).detach(), expected, **EXACT)
    np.testing.assert_allclose(strategy.inference_head()(features), expected, **EXACT)


@pytest.mark.parametrize("name", ["marc", "las"])
def test_they_start_as_the_stage_1_classifier(make, features, name):
    strategy = make(name)
    np.testing.assert_allclose(strategy.logits(features).detach(), stage_1(strategy, features), **EXACT)


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("disalign", {"scale", "shift", "gate_weight", "gate_bias"}),
        ("marc", {"trainable.scale", "trainable.shift"}),
        ("las", {"weight", "bias", "trainable.scale"}),
    ],
)
def test_what_is_trained(make, name, trained):
    assert {key for key, parameter in make(name).named_parameters() if parameter.requires_grad} == trained


def test_label_aware_smoothing(batch, make):
    logits, given = batch.tensors
    K, x = len(batch.n), (batch.n - batch.n.min()) / (batch.n.max() - batch.n.min())
    log_p = batch.z - np.log(np.exp(batch.z - batch.z.max(1, keepdims=True)).sum(1, keepdims=True)) - batch.z.max(1, keepdims=True)
    curves = {"concave": np.sin(np.pi * x / 2), "linear": x, "convex": 1 + np.sin(1.5 * np.pi + np.pi * x / 2)}
    for shape, curve in curves.items():
        epsilon = (0.05 + (0.5 - 0.05) * curve)[batch.y]
        q = np.eye(K)[batch.y] * (1 - epsilon[:, None]) + epsilon[:, None] / K
        strategy = make("las", smooth_head=0.5, smooth_tail=0.05, shape=shape)
        np.testing.assert_allclose(strategy.loss(logits, given), -(q * log_p).sum(1), **EXACT)


def test_label_aware_smoothing_folds_its_scales_into_one_layer(make, features):
    strategy = perturbed(make("las"))
    expected = strategy.trainable.scale.detach().numpy() * stage_1(strategy, features)
    np.testing.assert_allclose(strategy.logits(features).detach(), expected, **EXACT)
    head = strategy.inference_head()
    assert isinstance(head, torch.nn.Linear)
    np.testing.assert_allclose(head(features), expected, **EXACT)


def test_pc_softmax_exchanges_the_prior(make, features):
    strategy = make("pc_softmax", counts=(60, 41, 17, 17, 9, 4, 1))
    n = np.array([60, 41, 17, 17, 9, 4, 1.0])
    expected = stage_1(strategy, features) - np.log(n / n.sum()) + np.log(1 / 7)
    np.testing.assert_allclose(strategy.inference_head()(features), expected, **EXACT)
    adjusted = make("logit_adjustment").inference_head()(features)
    assert (strategy.inference_head()(features).argmax(1) == adjusted.argmax(1)).all()


def test_rates_relative_to_the_recipe(make, features):
    """One step of plain SGD moves the scales by lr times their gradient, weight and bias by lr_factor of that."""
    for factor, lr in ((0.25, 0.1), (0.0, 0.4)):
        strategy = make("las", lr_factor=factor, lr=lr, momentum=0.0, weight_decay=0.0)
        before = {name: parameter.detach().clone() for name, parameter in strategy.named_parameters()}
        (optimizer,), _ = strategy.configure_optimizers()
        labels = torch.tensor([0, 1, 2, 3, 4, 5])
        strategy.loss(strategy.logits(features), Batch(features, labels, labels)).sum().backward()
        optimizer.step()
        for name, rate in {"weight": factor * lr, "bias": factor * lr, "trainable.scale": lr}.items():
            parameter = strategy.get_parameter(name)
            np.testing.assert_allclose(before[name] - parameter.detach(), rate * parameter.grad, rtol=1e-9, atol=1e-12)
            assert parameter.grad.abs().max() > 0
