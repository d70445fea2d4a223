import dataclasses
import math
import typing

import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.strategies.recipe import RECIPE_FIELDS, Recipe, RecipeOptions


def test_cosine_reaches_zero_after_the_last_epoch():
    recipe = Recipe(epochs=20, schedule="cosine")
    assert recipe.factor(0) == 1
    assert recipe.factor(10) == pytest.approx(0.5)
    assert recipe.factor(19) == pytest.approx((1 + math.cos(math.pi * 19 / 20)) / 2)
    assert recipe.factor(20) == pytest.approx(0)


def test_steps_multiply_from_their_epoch_on():
    recipe = Recipe(epochs=70, schedule="step", milestones=(30, 50), decay=0.1)
    assert [recipe.factor(epoch) for epoch in (0, 29, 30, 49, 50, 69)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_warm_up_is_linear_and_cosine_begins_after_it():
    recipe = Recipe(epochs=6, warmup_epochs=4)
    assert [recipe.factor(epoch) for epoch in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.5])
    assert Recipe(epochs=6, schedule="constant").factor(5) == 1


def test_a_rate_per_head():
    recipe = Recipe(lr=(0.1, 0.2), momentum=0.5)
    assert recipe.per_head("lr", 2) == (0.1, 0.2)
    assert recipe.per_head("momentum", 3) == (0.5, 0.5, 0.5)


def test_a_schedule_that_is_stepped_before_each_epoch_is_one_ahead():
    """ShadeAlsha/LTR-weight-balancing: ``schedulerW.step()`` at the start of an epoch under CosineAnnealingLR(10)."""
    recipe = Recipe(lr=0.01, epochs=10, schedule_offset=1)
    assert recipe.factor(0) == pytest.approx(0.97553, abs=1e-5)
    assert recipe.factor(9) == 0
    assert Recipe(epochs=6, schedule="step", milestones=(2,), schedule_offset=1).factor(1) == pytest.approx(0.1)


def test_an_offset_is_that_of_torchs_scheduler_stepped_first():
    head = torch.nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([head], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 7, eta_min=0.0)
    rates = []
    for _ in range(7):
        sgd.step()
        scheduler.step()
        rates.append(sgd.param_groups[0]["lr"])
    recipe = Recipe(lr=0.3, epochs=7, schedule_offset=1)
    assert [0.3 * recipe.factor(epoch) for epoch in range(7)] == pytest.approx(rates, abs=1e-9)


@pytest.mark.parametrize(("samples", "epochs", "last"), [(10_847, 91, 20 * 512), (9_502, 106, 5 * 512), (19_573, 52, 11 * 512)])
def test_a_budget_in_steps_ends_at_its_step(samples, epochs, last):
    """2,000 steps of 512 on CIFAR-100-LT IF 100, 200 and 10."""
    recipe = Recipe(batch_size=512, iterations=2000).for_samples(samples)
    assert recipe.epochs == epochs
    assert recipe.samples_of(0, samples) == samples
    assert recipe.samples_of(epochs - 1, samples) == last
    assert sum(-(-recipe.samples_of(epoch, samples) // 512) for epoch in range(epochs)) == 2000


def test_warm_up_of_marc():
    """microsoft/robustlearn ``marc/utils.py`` CosineAnnealingLRWarmup: from 0.05 to 0.1 in 800 of 2,000 steps, then cosine; one epoch ahead here."""
    recipe = Recipe(lr=0.1, batch_size=512, iterations=2000, warmup_iterations=800, warmup_from=0.5, schedule_offset=1).for_samples(10_847)
    W, E = 37, 91
    assert (recipe.warmup_epochs, recipe.epochs) == (W, E)
    official = [
        0.05 / (W - 1) * (k - 1) + 0.05 if k < W else 0.1 * (1 + math.cos(math.pi * (k - W) / (E - W))) / 2 for k in range(1, E + 1)
    ]
    assert [0.1 * recipe.factor(epoch) for epoch in range(E)] == pytest.approx(official, abs=1e-12)


def test_one_length_takes_the_place_of_the_other():
    recipe = Recipe(iterations=2000, warmup_iterations=800)
    assert recipe.changed({"epochs": 5}).iterations is None
    assert recipe.changed({"warmup_epochs": 0}).for_samples(64).warmup_epochs == 0
    assert Recipe(epochs=5).changed({"iterations": 7}).for_samples(64).epochs == 7
    with pytest.raises(UserError, match="epochs and iterations were both given; leave out one of them"):
        recipe.changed({"epochs": 5, "iterations": 7})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", 0, "epochs is 0, expected at least 1"),
        ("batch_size", 0, "batch_size is 0, expected at least 1"),
        ("warmup_epochs", -1, "warmup_epochs is -1, expected at least 0"),
        ("iterations", 0, "iterations is 0, expected at least 1"),
        ("schedule_offset", -1, "schedule_offset is -1, expected at least 0"),
        ("warmup_from", 1.5, r"warmup_from is 1\.5, expected 0 to 1"),
        ("lr", -0.1, r"lr is -0\.1, expected a finite number >= 0"),
        ("lr", float("nan"), "lr is nan"),
        ("lr", (0.1, float("inf")), "lr is inf"),
        ("weight_decay", -1.0, "weight_decay is -1"),
        ("momentum", 1.0, r"momentum is 1\.0, expected 0 <= momentum < 1"),
        ("momentum", -0.1, "momentum is"),
    ],
)
def test_values_out_of_range(field, value, message):
    with pytest.raises(UserError, match=message):
        Recipe(**{field: value})


def test_options_are_the_fields():
    assert set(typing.get_type_hints(RecipeOptions)) == set(RECIPE_FIELDS) == {field.name for field in dataclasses.fields(Recipe)}
