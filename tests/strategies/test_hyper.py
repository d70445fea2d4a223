"""Hyper-parameters are declared once: the class attribute gives default, type, range, grid and help to everything that asks."""

from typing import ClassVar, Literal

import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.features.cache import Head
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.hyper import Hyperparameter, hyper, type_name, type_of
from lt_bench.strategies.registry import describe


class Declared(Strategy):
    """``l_i = CE(z_i, y)``."""

    name = "declared"
    grid: ClassVar = {"lr": (0.1, 1.0)}
    stackable = True

    margin: float = hyper(0.5, low=0, high=2, grid=(0.1, 0.5), help="taken from the true logit")
    form: Literal["a", "b"] = hyper("a", name="kernel", help="one of two")
    rows: int = hyper(3, low=1)


class Changed(Declared):
    """``l_i = CE(z_i, y)``."""

    name = "changed"
    margin = 1.5
    power: float = hyper(1.0, high=4)


def facts(init_seed=0):
    return Facts(2, (3, 1), Head(torch.zeros(2, 2), torch.zeros(2)), init_seed)


def test_one_declaration_says_everything():
    margin, form, rows = Declared.declared.values()
    assert margin == Hyperparameter("margin", float, 0.5, 0, 2, (0.1, 0.5), "taken from the true logit", "margin")
    assert (form.name, form.attribute, type_name(form.type)) == ("kernel", "form", "a | b")
    assert (rows.type, rows.range_text) == (int, "of at least 1")
    entry = describe(Declared)
    assert entry.grid == {"margin": (0.1, 0.5), "lr": (0.1, 1.0)}
    assert entry.types()["kernel"] == Literal["a", "b"]
    assert entry.resolve("any") | {"margin": 0.5, "kernel": "a", "rows": 3} == entry.resolve("any")


def test_an_instance_has_its_values_under_the_names_of_the_attributes():
    strategy = Declared(facts(), margin=1.0, kernel="b", lr=0.7)
    assert (strategy.margin, strategy.form, strategy.rows, strategy.recipe.lr) == (1.0, "b", 3, 0.7)
    assert (Declared(facts()).margin, Declared.recipe.lr) == (0.5, 0.1)


def test_a_subclass_changes_a_default_and_adds_its_own():
    strategy = Changed(facts())
    assert (strategy.margin, strategy.form, strategy.power) == (1.5, "a", 1.0)
    assert list(Changed.declared) == ["margin", "form", "rows", "power"]
    assert Changed.declared["margin"].grid == Declared.declared["margin"].grid
    assert Declared.declared["margin"].default == 0.5


def test_a_stack_has_one_value_a_head_which_moves_with_the_module():
    stack = Declared(facts((0, 1)), margin=torch.tensor([[0.25], [2.0]], dtype=torch.float64)).float()
    assert stack.margin.tolist() == [[0.25], [2.0]]
    assert stack.margin.dtype == torch.float32
    assert "margin" not in stack.state_dict()
    with pytest.raises(UserError, match=r"declared\.margin is 2\.5, expected a number from 0 to 2"):
        Declared(facts((0, 1)), margin=torch.tensor([[0.25], [2.5]]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"margin": 2.5}, r"declared\.margin is 2\.5, expected a number from 0 to 2"),
        ({"margin": float("nan")}, r"declared\.margin is nan, expected a number from 0 to 2"),
        ({"margin": "much"}, r"declared\.margin is much, expected a number from 0 to 2"),
        ({"rows": 0}, r"declared\.rows is 0, expected a number of at least 1"),
        ({"kernel": "c"}, r"declared\.kernel is 'c', expected one of a, b"),
        ({"margn": 1.0}, r"declared has no hyper-parameter 'margn'.*; it has margin, kernel, rows, lr, "),
        ({"form": "a"}, "declared has no hyper-parameter 'form'"),
    ],
)
def test_values_that_are_refused_are_named_in_one_line(given, message):
    with pytest.raises(UserError, match=message) as caught:
        Declared(facts(), **given)
    assert "\n" not in str(caught.value)


def test_a_declaration_needs_a_type_that_a_command_line_can_be_made_of():
    with pytest.raises(UserError, match=r"Untyped\.margin needs a type: `margin: float = hyper\(\.\.\.\)`"):
        type("Untyped", (Strategy,), {"name": "untyped", "margin": hyper(1.0)})
    with pytest.raises(UserError, match="here: type 'complex' is not made of float, int, bool"):
        type_of("complex", "here")
    assert type_of('Literal["a", "b"]', "here") == Literal["a", "b"]
    assert type_of("tuple[int, ...]", "here") == tuple[int, ...]
    assert type_of("float | None", "here") == float | None
