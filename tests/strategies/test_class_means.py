import numpy as np
import pytest
import torch

from lt_bench.bench.contract.subject import fit, job, problem
from lt_bench.strategies.registry import find

COUNTS = (11, 6, 3, 1)


def reference(form, features, labels, test):
    """Nearest class mean as the official code has it: centred, normalised, class means, minus the squared distance."""
    centre = features.mean(0) if form == "cl2n" else 0

    def transformed(h):
        return h if form == "un" else (h - centre) / np.linalg.norm(h - centre, axis=1, keepdims=True)

    means = np.stack([transformed(features)[labels == c].mean(0) for c in range(len(COUNTS))])
    return -((transformed(test)[:, None] - means) ** 2).sum(2), means


@pytest.mark.parametrize("form", ["un", "l2n", "cl2n"])
def test_logits_are_minus_the_squared_distance_to_the_class_means(form):
    on = problem(COUNTS, 5)
    strategy = fit(on, [job(find("ncm"), features=form)], torch.float64)[0].strategy
    plain, labels = on.train.view("plain").double().numpy(), on.train.labels.numpy()
    test = on.batch(9, torch.float64).features
    expected, means = reference(form, plain, labels, test.numpy())
    actual = strategy.inference_head()(test).numpy()
    if form == "un":  # linear: without -||h||^2, which all classes share
        expected = expected + (test.numpy() ** 2).sum(1, keepdims=True)
    np.testing.assert_allclose(actual, expected, atol=1e-10)
    np.testing.assert_allclose(strategy.classifier_rows().numpy(), means, atol=1e-12)
    assert torch.allclose(strategy.logits(test), torch.from_numpy(actual))


def test_sums_over_blocks_of_rows_are_those_of_the_whole(monkeypatch):
    whole = fit(problem(COUNTS, 5), [job(find("ncm"))], torch.float64)[0].strategy
    monkeypatch.setattr("lt_bench.strategies.ncm.ROWS", 4)
    blocks = fit(problem(COUNTS, 5), [job(find("ncm"))], torch.float64)[0].strategy
    torch.testing.assert_close(blocks.means, whole.means, rtol=0, atol=1e-14)
    torch.testing.assert_close(blocks.centre, whole.centre, rtol=0, atol=1e-14)


def test_half_precision_features_do_not_lose_the_mean():
    on = problem((3000, 2), 4)
    far = on.train.blocks[0] + 100
    half = type(on.train)("train", on.train.views, (far.half(),), on.train.labels, on.train.rows)
    strategy = find("ncm").load()(on.facts, features="un")
    strategy.solve(half)
    expected = half.view("plain").double()[on.train.labels == 0].mean(0)
    torch.testing.assert_close(strategy.means[0].double(), expected, rtol=1e-6, atol=0)


def test_a_class_without_samples_lies_at_the_origin():
    on = problem((4, 3), 3)
    facts = type(on.facts)(3, (4, 3, 0), None)
    strategy = find("ncm").load()(facts)
    strategy.solve(on.train)
    assert torch.equal(strategy.means[2], torch.zeros(3))
    assert strategy.inference_head()(on.batch(4, torch.float32).features).isfinite().all()
