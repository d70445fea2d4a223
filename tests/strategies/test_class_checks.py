"""Classes that contradict themselves are refused in one line when the class is made (or the attribute set), not ignored until the results look odd."""

import pytest

from lt_bench.core.errors import UserError
from lt_bench.strategies.ce import CE
from lt_bench.strategies.class_checks import METHODS, SLOT_ATTRIBUTES
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.hyper import hyper


def refused(message, make):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert "Mine" in str(caught.value)


def method(self, *given):
    return given[0]


def mine(**body):
    return type("Mine", (Strategy,), {"name": "mine", "__module__": "own", **body})


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("tranform", "transform"),
        ("transforms", "transform"),
        ("kernal", "kernel"),
        ("targets", "target"),
        ("weightings", "weighting"),
        ("regularizer", "regulariser"),
        ("end_epochs", "end_epoch"),
        ("inference_heads", "inference_head"),
        ("sample_weigth", "sample_weight"),
        ("initial_heads", "initial_head"),
        ("stackabel", "stackable"),
    ],
)
def test_a_misspelt_slot(misspelt, meant):
    refused(rf"own\.Mine\.{misspelt} is no slot and would be ignored; did you mean '{meant}'\?", lambda: mine(**{misspelt: method}))


def test_names_of_helpers_are_free():
    mine(_transforms=method, margin_of=method, cosine_of_angles=method, my_table=3)


@pytest.mark.parametrize("slot", ["loss", "logits", "sample_weight", "end_epoch", "inference_head"])
def test_a_value_that_hides_a_slot(slot):
    refused(rf"own\.Mine\.{slot} is 3\.0, which would hide the slot {slot}", lambda: mine(**{slot: 3.0}))


@pytest.mark.parametrize("slot", ["loss", "target", "kernel", "transform", "regulariser", "logits"])
def test_a_value_set_on_an_instance_that_hides_a_slot(slot):
    def init(self, facts, **given):
        Strategy.__init__(self, facts, **given)
        setattr(self, slot, 0.5)

    cls = mine(__init__=init, initial_head="random")
    refused(rf"own\.Mine: self\.{slot} = \.\.\. would hide the slot {slot}; call the attribute otherwise", lambda: cls(Facts(2, (2, 1))))


@pytest.mark.parametrize("body", [{}, {"name": ""}])
def test_a_missing_name(body):
    refused(r'own\.Mine has no name; give it one: name = "my_head"', lambda: type("Mine", (CE,), {"__module__": "own", **body}))


def test_a_base_of_others_needs_no_name():
    class Base(Strategy, abstract=True):
        margin: float = hyper(1.0)

    class Derived(Base):
        name = "derived"

    assert Derived.declared["margin"].default == 1.0


@pytest.mark.parametrize("slot", ["kernel", "loss", "target", "project"])
def test_a_hyperparameter_named_as_a_slot(slot):
    body = {slot: hyper(1.0), "__annotations__": {slot: "float"}}
    refused(rf'a hyper-parameter called {slot} would hide the slot {slot}; .* name="{slot}"', lambda: mine(**body))
    mine(form=hyper(1.0, name=slot), __annotations__={"form": "float"})


def test_the_checked_names_are_those_of_the_contract():
    assert all(hasattr(Strategy, name) for name in (*METHODS, *SLOT_ATTRIBUTES))
