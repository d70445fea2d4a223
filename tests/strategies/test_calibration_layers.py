"""Corrections of the stage-1 logits: what they compute, what they train, and what they fold into."""

import numpy as np
import pytest
import torch

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
    return features[0].numpy() @ made.weight[0].detach().numpy().T + made.bias[0].detach().numpy()


@pytest.fixture
def features():
    return torch.randn(1, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_disalign(strategy, features):
    made = perturbed(strategy("disalign"))
    scale, shift, v, b = (getattr(made, name)[0].detach().numpy() for name in ("scale", "shift", "gate_weight", "gate_bias"))
    gate = 1 / (1 + np.exp(-(features[0].numpy() @ v + b)))
    expected = (1 + gate * scale) * stage_1(made, features) + gate * shift
    np.testing.assert_allclose(made.logits(features)[0].detach(), expected, **EXACT)
    np.testing.assert_allclose(made.inference_head()(features[0]), expected, **EXACT)


def test_disalign_starts_as_a_change_of_temperature(strategy, features):
    made = strategy("disalign")
    gate = 1 / (1 + np.exp(-0.1 * features[0].numpy().sum(1, keepdims=True)))
    np.testing.assert_allclose(made.logits(features)[0].detach(), (1 + gate) * stage_1(made, features), rtol=1e-7)


def test_marc(strategy, features):
    made = perturbed(strategy("marc"))
    a, b = made.scale[0].detach().numpy(), made.shift[0].detach().numpy()
    expected = a * stage_1(made, features) + b * np.linalg.norm(made.weight[0].detach().numpy(), axis=1)
    np.testing.assert_allclose(made.logits(features)[0].detach(), expected, **EXACT)
    np.testing.assert_allclose(made.inference_head()(features[0]), expected, **EXACT)


@pytest.mark.parametrize("name", ["marc", "las"])
def test_they_start_as_the_stage_1_classifier(strategy, features, name):
    made = strategy(name)
    np.testing.assert_allclose(made.logits(features)[0].detach(), stage_1(made, features), **EXACT)


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("disalign", {"scale", "shift", "gate_weight", "gate_bias"}),
        ("marc", {"scale", "shift"}),
        ("las", {"weight", "bias", "scale"}),
    ],
)
def test_what_is_trained(strategy, name, trained):
    assert {key for key, parameter in strategy(name).named_parameters() if parameter.requires_grad} == trained


def test_label_aware_smoothing(batch, strategy):
    logits, labels, _ = batch.tensors
    K, x = len(batch.n), (batch.n - batch.n.min()) / (batch.n.max() - batch.n.min())
    log_p = batch.z - np.log(np.exp(batch.z - batch.z.max(1, keepdims=True)).sum(1, keepdims=True)) - batch.z.max(1, keepdims=True)
    curves = {"concave": np.sin(np.pi * x / 2), "linear": x, "convex": 1 + np.sin(1.5 * np.pi + np.pi * x / 2)}
    for shape, curve in curves.items():
        epsilon = (0.05 + (0.5 - 0.05) * curve)[batch.y]
        q = np.eye(K)[batch.y] * (1 - epsilon[:, None]) + epsilon[:, None] / K
        made = strategy("las", smooth_head=0.5, smooth_tail=0.05, shape=shape)
        np.testing.assert_allclose(made.loss(logits, labels)[0], -(q * log_p).sum(1), **EXACT)


def test_label_aware_smoothing_folds_its_scales_into_one_layer(strategy, features):
    made = perturbed(strategy("las"))
    expected = made.scale[0].detach().numpy() * stage_1(made, features)
    np.testing.assert_allclose(made.logits(features)[0].detach(), expected, **EXACT)
    head = made.inference_head()
    assert isinstance(head, torch.nn.Linear)
    np.testing.assert_allclose(head(features[0]), expected, **EXACT)


def test_pc_softmax_exchanges_the_prior(strategy, features):
    made = strategy("pc_softmax", counts=(60, 41, 17, 17, 9, 4, 1))
    n = np.array([60, 41, 17, 17, 9, 4, 1.0])
    expected = stage_1(made, features) - np.log(n / n.sum()) + np.log(1 / 7)
    np.testing.assert_allclose(made.inference_head()(features[0]), expected, **EXACT)
    adjusted = strategy("logit_adjustment").inference_head()(features[0])
    assert (made.inference_head()(features[0]).argmax(1) == adjusted.argmax(1)).all()


def test_rates_relative_to_the_recipe(strategy, features):
    """One step of plain SGD moves the scales by lr times their gradient, weight and bias by lr_factor of that, each head by its own."""
    made = strategy(
        "las", heads=2, lr_factor=torch.tensor([[0.25], [0.0]], dtype=torch.float64), lr=(0.1, 0.4), momentum=0.0, weight_decay=0.0
    )
    before = {name: parameter.detach().clone() for name, parameter in made.named_parameters()}
    optimizer = made.configure_optimizers()
    made.loss(made.logits(features), torch.tensor([[0, 1, 2, 3, 4, 5]])).sum().backward()
    optimizer.step()
    for name, factors in {"weight": (0.025, 0.0), "bias": (0.025, 0.0), "scale": (0.1, 0.4)}.items():
        parameter = getattr(made, name)
        for head, factor in enumerate(factors):
            moved = before[name][head] - parameter[head].detach()
            np.testing.assert_allclose(moved, factor * parameter.grad[head], rtol=1e-9, atol=1e-12)
            assert parameter.grad[head].abs().max() > 0
