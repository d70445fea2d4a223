import dataclasses
import math
import typing

import pytest

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


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", 0, "epochs is 0, expected at least 1"),
        ("batch_size", 0, "batch_size is 0, expected at least 1"),
        ("warmup_epochs", -1, "warmup_epochs is -1, expected at least 0"),
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
