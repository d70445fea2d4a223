"""Heads with different values of a hyper-parameter in one stack lose what each would lose alone, and fit as each would alone."""

import pytest
import torch

from lt_bench.engine.heads.fit import fit_stack
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.features.cache import Head
from lt_bench.strategies.contract import Facts
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
]
COUNTS = (60, 41, 17, 17, 9, 4, 1)


def stacked(name: str, parameter: str, *values: float) -> list[HeadJob]:
    entry = find(name)
    shared = {"epochs": 2, "batch_size": 40, "warmup_epochs": 0, "lr": 0.05}
    if name == "seql":
        shared["threshold"] = 0.1  # by default no class of 149 samples is rare
    if name == "ldam_drw":
        shared["deferral"] = 0.5  # by default the weights come in the last fifth of the epochs, and two have none
    return [
        HeadJob(entry, entry.resolve("cifar10_lt", 100, {**shared, parameter: value}), repetition)
        for repetition in (0, 1)
        for value in values
    ]


@pytest.mark.parametrize(("name", "parameter", "first", "second"), VALUES, ids=[f"{v[0]}-{v[1]}" for v in VALUES])
def test_a_stack_fits_as_its_heads_alone(train, name, parameter, first, second):
    generator = torch.Generator().manual_seed(11)
    head = Head(torch.randn(len(COUNTS), 5, generator=generator), torch.randn(len(COUNTS), generator=generator))
    jobs = stacked(name, parameter, first, second)
    seeds = tuple(job.repetition for job in jobs)
    whole = fit_stack(jobs, Facts(5, COUNTS, head, seeds), train, dtype=torch.float64)
    trained = [key for key, value in whole.strategy.named_parameters() if value.requires_grad]
    assert trained
    for number in (1, 2):
        alone = fit_stack([jobs[number]], Facts(5, COUNTS, head, (seeds[number],)), train, dtype=torch.float64)
        for key, value in alone.strategy.named_parameters():
            torch.testing.assert_close(whole.strategy.get_parameter(key)[number], value[0], rtol=1e-6, atol=1e-8)
        assert [row["loss"] for row in whole.history[number]] == pytest.approx([row["loss"] for row in alone.history[0]], rel=1e-5)
    different = any(not torch.equal(whole.strategy.get_parameter(key)[0], whole.strategy.get_parameter(key)[1]) for key in trained)
    assert different, "the hyper-parameter has no effect"


@pytest.mark.parametrize("name", sorted({v[0] for v in VALUES}))
def test_the_inference_head_gives_the_logits_of_the_fit(train, name):
    generator = torch.Generator().manual_seed(11)
    head = Head(torch.randn(len(COUNTS), 5, generator=generator), torch.randn(len(COUNTS), generator=generator))
    parameter, first, second = next(v[1:] for v in VALUES if v[0] == name)
    jobs = stacked(name, parameter, first, second)
    fitted = fit_stack(jobs, Facts(5, COUNTS, head, tuple(job.repetition for job in jobs)), train).strategy
    features = train.view("plain")[:9]
    logits = fitted.logits(features.unsqueeze(0)).detach()
    for number in range(len(jobs)):
        torch.testing.assert_close(fitted.inference_head(number)(features).detach(), logits[number], rtol=1e-4, atol=1e-4)
