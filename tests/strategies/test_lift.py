"""The head of LIFT against the classifier and the loss of its code, written out."""

import numpy as np
import torch
import torch.nn.functional as F

from lt_bench.bench.contract.subject import build, fit, job, problem
from lt_bench.strategies.registry import find
from lt_bench.strategies.slots.initial_heads import initial_head


def test_the_loss_is_that_of_the_official_classifier_and_criterion(make, batch):
    strategy, (_, sample) = make("lift", scale=25.0, tau=1.0), batch.tensors
    rows = torch.randn(strategy.weight.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        strategy.weight.copy_(rows)
    cosines = F.linear(F.normalize(sample.features, dim=-1), F.normalize(rows, dim=-1)) * 25
    prior = torch.from_numpy(batch.n / batch.n.sum()).log()
    expected = F.cross_entropy(cosines + prior, sample.labels, reduction="none")
    torch.testing.assert_close(strategy.loss(strategy.logits(sample.features), sample), expected, rtol=1e-6, atol=1e-6)


def test_the_fit_begins_at_the_directions_of_the_class_means():
    on = problem((12, 5, 3), 4)
    h, y = on.train.view("plain").double().numpy(), on.train.labels.numpy()
    means = np.stack([h[y == c].mean(0) for c in range(3)])
    strategy = build(find("lift"), on, torch.float64)
    np.testing.assert_allclose(strategy.weight.detach(), means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6)
    weight, bias = initial_head("class_means").of_features(on.train, on.facts)
    centred = means - means.mean(0)
    np.testing.assert_allclose(weight, centred / np.linalg.norm(centred, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(bias, -weight.numpy() @ means.mean(0), atol=1e-6)


def test_a_composition_says_it():
    on = problem()
    slots = dict(find("lift").slots or {})
    assert slots["initial_head"] == "class_means(scale=1.0, centred=False)"
    recipe = {"lr": 0.01, "weight_decay": 5e-4, "batch_size": 8, "epochs": 3}
    one = fit(on, [job(find("lift"), **recipe)])[0].head().weight
    other = fit(on, [job(find("compose"), **slots, **recipe)])[0].head().weight
    assert torch.equal(one, other)
