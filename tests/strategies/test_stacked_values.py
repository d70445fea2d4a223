"""Heads with different values of a hyper-parameter in one stack lose what each would lose alone, and fit as each would alone."""

import pytest
import torch

from lt_bench.engine.heads.fit import fit_heads
from lt_bench.engine.heads.stacks import HeadJob, head_of, strategy_of
from lt_bench.features.cache import Head
from lt_bench.strategies.contract import Batch, Facts
from lt_bench.strategies.registry import find

VALUES = [
    ("label_smoothing", "epsilon", 0.05, 0.4),
    ("los", "epsilon", 0.5, 0.98),
    ("los", "true_probability", 0.0, 0.4),
    ("los", "gap", 0.0, 1.2),
    ("grw", "rho", 0.5, 1.2),
    ("focal", "gamma", 0.5, 2.0),
    ("cb_focal", "gamma", 0.5, 2.0),
    ("cb_focal", "beta", 0.99, 0.9999),
    ("cb_focal_sigmoid", "gamma", 0.5, 2.0),
    ("ldam", "max_margin", 0.1, 0.5),
    ("ldam", "scale", 10.0, 30.0),
    ("ldam_drw", "beta", 0.99, 0.9999),
    ("ldam_drw", "deferral", 0.0, 0.5),
    ("ib", "alpha", 1.0, 100.0),
    ("ib_cb", "beta", 0.99, 0.9999),
    ("ib_fl", "gamma", 0.5, 2.0),
    ("vs", "gamma", 0.1, 0.3),
    ("vs", "tau", 0.5, 1.5),
    ("cdt", "gamma", 0.1, 0.3),
    ("la_loss", "tau", 0.5, 1.5),
    ("seql", "gamma", 0.3, 0.9),
    ("seql", "threshold", 0.05, 0.2),
    ("lade", "alpha", 0.01, 0.1),
    ("lade", "penalty", 0.01, 0.5),
    ("disalign", "rho", 0.5, 1.2),
    ("marc", "rho", 0.5, 1.2),
    ("gcl", "noise", 0.0, 1.0),
    ("gcl", "margin", 0.0, 0.2),
    ("gcl", "scale", 10.0, 20.0),
    ("gcl", "gamma", 0.5, 2.0),
    ("las", "smooth_head", 0.2, 0.5),
    ("las", "lr_factor", 0.0, 0.5),
    ("caai25_inferred", "scale", 5.0, 16.0),
    ("caai25_inferred", "margin", 0.0, 0.4),
    ("caai25_inferred", "uniformity", 0.0, 2.0),
    ("caai25_inferred", "norm", 0.0, 0.5),
    ("d_ffds", "gamma_max", 1.0, 4.5),
    ("d_ffds", "k", 0.0, 0.9),
    ("d_ffds", "epsilon", 0.0, 0.3),
    ("d_ffds", "beta", 0.99, 0.9999),
    ("meta_sampler", "meta_lr", 0.0, 0.2),
    ("meta_sampler", "init_power", 0.0, 1.0),
    ("maxnorm", "threshold", 0.1, 0.6),
]
COUNTS = (60, 41, 17, 17, 9, 4, 1)


def stacked(name: str, parameter: str, *values: float) -> list[HeadJob]:
    entry = find(name)
    shared = {"epochs": 2, "batch_size": 40, "warmup_epochs": 0, "lr": 0.05}
    if name == "seql":
        shared["threshold"] = 0.1  # by default no class of 149 samples is rare
    if name == "meta_sampler":
        shared |= {"meta_batch_size": 20}
    if name == "ldam_drw":
        shared["deferral"] = 0.5  # by default the weights come in the last fifth of the epochs, and two have none
    return [
        HeadJob(entry, entry.resolve("cifar10_lt", 100, {**shared, parameter: value}), repetition)
        for repetition in (0, 1)
        for value in values
    ]


@pytest.fixture
def facts():
    generator = torch.Generator().manual_seed(11)
    return Facts(5, COUNTS, Head(torch.randn(len(COUNTS), 5, generator=generator), torch.randn(len(COUNTS), generator=generator)))


def state(strategy):
    return {name: value.detach() for name, value in strategy.named_parameters() if value.requires_grad}


@pytest.mark.parametrize(("name", "parameter", "first", "second"), VALUES, ids=[f"{v[0]}-{v[1]}" for v in VALUES])
def test_a_stack_fits_as_its_heads_alone(train, facts, name, parameter, first, second):
    jobs = stacked(name, parameter, first, second)
    (whole,) = fit_heads([jobs], facts, train, dtype=torch.float64)
    heads = [state(whole.head(number)) for number in range(len(jobs))]
    assert heads[0]
    for number in (1, 2):
        (alone,) = fit_heads([[jobs[number]]], facts, train, dtype=torch.float64)
        for key, value in state(alone.head()).items():
            torch.testing.assert_close(heads[number][key], value, rtol=1e-6, atol=1e-8)
        assert [row["loss"] for row in whole.history[number]] == pytest.approx([row["loss"] for row in alone.history[0]], rel=1e-5)
    assert any(not torch.equal(heads[0][key], heads[1][key]) for key in heads[0]), "the hyper-parameter has no effect"


@pytest.mark.parametrize(("name", "parameter", "first", "second"), VALUES, ids=[f"{v[0]}-{v[1]}" for v in VALUES])
def test_losses_of_a_stack_are_those_of_single_heads_with_plain_numbers(facts, name, parameter, first, second):
    """Logits, loss, denominator and the terms beside it."""
    jobs = stacked(name, parameter, first, second)
    stack = strategy_of(jobs, facts, torch.float64)
    stack.begin_epoch(1)
    generator = torch.Generator().manual_seed(4)
    features = torch.rand(1, 9, 5, dtype=torch.float64, generator=generator)
    labels = torch.randint(len(COUNTS), (len(jobs), 9), generator=generator)
    batch = Batch(features, labels, labels)
    stack.draws.seed((0,))
    stack.draws.start(0, 0)
    logits = stack.logits(features)
    losses, over, extra = stack.loss(logits, batch), stack.denominator(labels), stack.batch_statistic(logits, labels)
    for number in range(len(jobs)):
        alone = head_of(stack, number)
        alone.begin_epoch(1)
        alone.draws.start(0, 0)
        own = Batch(features[0], labels[number], labels[number])
        torch.testing.assert_close(alone.logits(features[0]), logits[number], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(alone.loss(logits[number], own), losses[number], rtol=1e-10, atol=1e-12)
        assert float(alone.denominator(own.labels)) == pytest.approx(float(over[number] if isinstance(over, torch.Tensor) else over))
        if extra is not None:
            torch.testing.assert_close(alone.batch_statistic(logits[number], own.labels), extra[number], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", sorted({v[0] for v in VALUES}))
def test_the_inference_head_gives_the_logits_of_the_fit(train, facts, name):
    parameter, first, second = next(v[1:] for v in VALUES if v[0] == name)
    jobs = stacked(name, parameter, first, second)
    (fitted,) = fit_heads([jobs], facts, train)
    features = train.view("plain")[:9]
    logits = fitted.strategy.logits(features.unsqueeze(0)).detach()
    for number in range(len(jobs)):
        torch.testing.assert_close(fitted.head(number).inference_head()(features).detach(), logits[number], rtol=1e-4, atol=1e-4)
