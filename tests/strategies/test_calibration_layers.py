"""Corrections of the stage-1 logits: what they compute, what they train, and what they fold into."""

import numpy as np
import pytest
import torch

from lt_bench.strategies.contract import Batch

EXACT = {"rtol": 1e-10, "atol": 1e-12}


def perturbed(made):
    """The strategy with its trained parameters moved away from where they start."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.3)
    return made


def stage_1(made, features):
    return features.numpy() @ made.weight.detach().numpy().T + made.bias.detach().numpy()


@pytest.fixture
def features():
    return torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_disalign(strategy, features):
    made = perturbed(strategy("disalign"))
    scale, shift, v, b = (getattr(made, name).detach().numpy() for name in ("scale", "shift", "gate_weight", "gate_bias"))
    gate = 1 / (1 + np.exp(-(features.numpy() @ v + b)))
    expected = (1 + gate * scale) * stage_1(made, features) + gate * shift
    np.testing.assert_allclose(made.logits(features).detach(), expected, **EXACT)
    np.testing.assert_allclose(made.inference_head()(features), expected, **EXACT)


def test_disalign_starts_as_a_change_of_temperature(strategy, features):
    made = strategy("disalign")
    gate = 1 / (1 + np.exp(-0.1 * features.numpy().sum(1, keepdims=True)))
    np.testing.assert_allclose(made.logits(features).detach(), (1 + gate) * stage_1(made, features), rtol=1e-7)


def test_marc(strategy, features):
    made = perturbed(strategy("marc"))
    a, b = made.trainable.scale.detach().numpy(), made.trainable.shift.detach().numpy()
    expected = a * stage_1(made, features) + b * np.linalg.norm(made.weight.detach().numpy(), axis=1)
    np.testing.assert_allclose(made.logits(features).detach(), expected, **EXACT)
    np.testing.assert_allclose(made.inference_head()(features), expected, **EXACT)


@pytest.mark.parametrize("name", ["marc", "las"])
def test_they_start_as_the_stage_1_classifier(strategy, features, name):
    made = strategy(name)
    np.testing.assert_allclose(made.logits(features).detach(), stage_1(made, features), **EXACT)


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("disalign", {"scale", "shift", "gate_weight", "gate_bias"}),
        ("marc", {"trainable.scale", "trainable.shift"}),
        ("las", {"weight", "bias", "trainable.scale"}),
    ],
)
def test_what_is_trained(strategy, name, trained):
    assert {key for key, parameter in strategy(name).named_parameters() if parameter.requires_grad} == trained


def test_label_aware_smoothing(batch, strategy):
    logits, given = batch.tensors
    K, x = len(batch.n), (batch.n - batch.n.min()) / (batch.n.max() - batch.n.min())
    log_p = batch.z - np.log(np.exp(batch.z - batch.z.max(1, keepdims=True)).sum(1, keepdims=True)) - batch.z.max(1, keepdims=True)
    curves = {"concave": np.sin(np.pi * x / 2), "linear": x, "convex": 1 + np.sin(1.5 * np.pi + np.pi * x / 2)}
    for shape, curve in curves.items():
        epsilon = (0.05 + (0.5 - 0.05) * curve)[batch.y]
        q = np.eye(K)[batch.y] * (1 - epsilon[:, None]) + epsilon[:, None] / K
        made = strategy("las", smooth_head=0.5, smooth_tail=0.05, shape=shape)
        np.testing.assert_allclose(made.loss(logits, given), -(q * log_p).sum(1), **EXACT)


def test_label_aware_smoothing_folds_its_scales_into_one_layer(strategy, features):
    made = perturbed(strategy("las"))
    expected = made.trainable.scale.detach().numpy() * stage_1(made, features)
    np.testing.assert_allclose(made.logits(features).detach(), expected, **EXACT)
    head = made.inference_head()
    assert isinstance(head, torch.nn.Linear)
    np.testing.assert_allclose(head(features), expected, **EXACT)


def test_pc_softmax_exchanges_the_prior(strategy, features):
    made = strategy("pc_softmax", counts=(60, 41, 17, 17, 9, 4, 1))
    n = np.array([60, 41, 17, 17, 9, 4, 1.0])
    expected = stage_1(made, features) - np.log(n / n.sum()) + np.log(1 / 7)
    np.testing.assert_allclose(made.inference_head()(features), expected, **EXACT)
    adjusted = strategy("logit_adjustment").inference_head()(features)
    assert (made.inference_head()(features).argmax(1) == adjusted.argmax(1)).all()


def test_rates_relative_to_the_recipe(strategy, features):
    """One step of plain SGD moves the scales by lr times their gradient, weight and bias by lr_factor of that."""
    for factor, lr in ((0.25, 0.1), (0.0, 0.4)):
        made = strategy("las", lr_factor=factor, lr=lr, momentum=0.0, weight_decay=0.0)
        before = {name: parameter.detach().clone() for name, parameter in made.named_parameters()}
        (optimizer,), _ = made.configure_optimizers()
        labels = torch.tensor([0, 1, 2, 3, 4, 5])
        made.loss(made.logits(features), Batch(features, labels, labels)).sum().backward()
        optimizer.step()
        for name, rate in {"weight": factor * lr, "bias": factor * lr, "trainable.scale": lr}.items():
            parameter = made.get_parameter(name)
            np.testing.assert_allclose(before[name] - parameter.detach(), rate * parameter.grad, rtol=1e-9, atol=1e-12)
            assert parameter.grad.abs().max() > 0
