import numpy as np
import pytest
import torch

from lt_bench.bench.contract.subject import build, fit, job, problem
from lt_bench.strategies.contract import Batch
from lt_bench.strategies.registry import find

COUNTS = (40, 12, 3)


def head_and_test(name, **changes):
    on = problem(COUNTS, 4)
    strategy = build(find(name), on, torch.float64, [job(find(name), **changes)])
    test = on.batch(7, torch.float64).features
    return strategy, on.facts.head.weight.double().numpy(), on.facts.head.bias.double().numpy(), test


@pytest.mark.parametrize("keep_bias", [True, False])
def test_l2_norm_gives_every_row_length_one(keep_bias):
    strategy, weight, bias, test = head_and_test("l2_norm", keep_bias=keep_bias)
    expected = test.numpy() @ (weight / np.linalg.norm(weight, axis=1, keepdims=True)).T + keep_bias * bias
    np.testing.assert_allclose(strategy.inference_head()(test).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("tau", [0.0, 0.65, 1.6])
def test_multiplicative_adjustment_divides_every_logit_by_a_power_of_the_prior(tau):
    strategy, weight, bias, test = head_and_test("multiplicative_la", tau=tau)
    prior = np.asarray(COUNTS) / sum(COUNTS)
    expected = (test.numpy() @ weight.T + bias) * prior**-tau
    np.testing.assert_allclose(strategy.inference_head()(test).numpy(), expected, rtol=1e-10)


def test_lws_scales_rows_and_bias_and_trains_the_scales_only():
    on = problem(COUNTS, 4)
    fitted = fit(on, [job(find("lws"))], torch.float64)[0].head()
    test = on.batch(7, torch.float64).features
    weight, bias, scale = on.facts.head.weight.double(), on.facts.head.bias.double(), fitted.trainable.scale.detach()
    assert (scale - 1).abs().min() > 1e-4
    expected = (test @ weight.T + bias) * scale
    torch.testing.assert_close(fitted.inference_head()(test), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(fitted.logits(test), expected, rtol=0, atol=1e-10)


def test_maxnorm_is_cross_entropy_and_bounds_the_rows_after_every_step():
    on = problem(COUNTS, 4)
    fitted = fit(on, [job(find("maxnorm"), threshold=0.3, lr=0.5)], torch.float64)[0].head()
    norms = on.facts.head.weight.norm(dim=1)
    radius = float(norms.min() + 0.3 * (norms.max() - norms.min()))
    after = fitted.weight.detach().norm(dim=1)
    assert float(after.max()) <= radius * (1 + 1e-12)
    assert float(norms.max()) > radius
    logits, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1])
    torch.testing.assert_close(
        fitted.loss(logits, Batch(torch.zeros(5, 4), labels, labels)),
        torch.nn.functional.cross_entropy(logits, labels, reduction="none"),
        rtol=0,
        atol=1e-10,
    )


def test_strong_weight_decay_shortens_the_long_rows_most():
    on = problem(COUNTS, 4)
    weak = fit(on, [job(find("weight_decay"), weight_decay=0.0, lr=0.1)])[0].head().weight.norm(dim=1)
    strong = fit(on, [job(find("weight_decay"), weight_decay=0.5, lr=0.1)])[0].head().weight.norm(dim=1)
    assert (strong < weak).all()
    assert strong.max() - strong.min() < weak.max() - weak.min()


@pytest.mark.parametrize(("form", "power"), [("normed", 0), ("squashed", 1)])
def test_cosine_logits_and_head(form, power):
    strategy, _, _, test = head_and_test("cosine", form=form, scale=16.0)
    weight = strategy.weight.detach().numpy()
    h = test.numpy()
    norm = np.linalg.norm(h, axis=1, keepdims=True)
    expected = 16 * (h / (power + norm)) @ (weight / np.linalg.norm(weight, axis=1, keepdims=True)).T
    np.testing.assert_allclose(strategy.logits(test).detach().numpy(), expected, atol=1e-10)
    np.testing.assert_allclose(strategy.inference_head()(test).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("class_balanced_sampling", "class_balanced"),
        ("sqrt_sampling", "square_root"),
        ("progressive_sampling", "progressive"),
        ("effective_sampling", "effective_number"),
    ],
)
def test_resampling_strategies_differ_from_crt_by_their_sampler_alone(name, sampler):
    entry, crt = find(name), find("crt")
    assert entry.sampler == sampler
    assert (entry.recipe, entry.initial_head) == (crt.recipe, crt.initial_head)
    strategy, _, _, _ = head_and_test(name)
    logits, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1])
    torch.testing.assert_close(
        strategy.loss(logits, Batch(torch.zeros(5, 4), labels, labels)),
        torch.nn.functional.cross_entropy(logits, labels, reduction="none"),
        rtol=0,
        atol=1e-10,
    )
