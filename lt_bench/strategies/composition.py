"""Compositions of slots: a strategy that is no class of its own, and the words in which a registered one says its slots. Free of torch until one is built."""

from __future__ import annotations

import ast
from typing import Any

from lt_bench.strategies.hyper import Hyperparameter
from lt_bench.strategies.recipe import Recipe
from lt_bench.strategies.slots.vocabulary import ATTRIBUTES, TITLES, entries, entry

NAME = "compose"
RECIPE = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
DOC = """A composition of entries of the vocabulary, one for each slot that is named.

``l_i = w_i * kernel(T(z_i), q_i)``; `lt-bench list slots` shows the entries. The recipe is that of most strategies for a head alone; all of it can be set.
"""
DEFAULTS = {"sampler": "instance", "initial_head": "joint"}
SLOTS = tuple(Hyperparameter(slot, str, DEFAULTS.get(slot, ""), help=title, attribute=slot) for slot, title in TITLES.items())
"""Hyper-parameters of ``compose``."""


def class_of(hyperparameters: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The class of a composition, and the hyper-parameters that are left for it.

    Raises:
        UserError: an unknown entry or parameter.
    """
    from lt_bench.strategies.contract import Strategy

    slots = {slot: hyperparameters[slot] for slot in TITLES if hyperparameters.get(slot)}
    attributes: dict[str, Any] = {slot: slots.get(slot, default) for slot, default in DEFAULTS.items()}
    attributes |= {ATTRIBUTES[slot]: entry(slot, text) for slot, text in slots.items() if slot not in DEFAULTS}
    attributes |= {"__doc__": DOC, "__module__": __name__, "name": NAME, "recipe": RECIPE, "stackable": True}
    return type("Compose", (Strategy,), attributes), {name: value for name, value in hyperparameters.items() if name not in TITLES}


def written(slot: str, source: str, declared: dict[str, Hyperparameter]) -> str:
    """An entry in the words of ``compose``: ``Smooth("epsilon")`` with the default of the strategy's epsilon as ``smooth(epsilon=0.98)``.

    Args:
        slot: the slot.
        source: source text of the declaration.
        declared: hyper-parameters of the strategy by attribute.
    """
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    class_name = call.func.id
    known = next(one for (of, _), one in entries().items() if of == slot and one.class_path.endswith(f".{class_name}"))
    given = {parameter.attribute: value for parameter, value in zip(known.parameters, map(ast.literal_eval, call.args), strict=False)}
    given |= {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
    values = {name: declared[value].default if isinstance(value, str) and value in declared else value for name, value in given.items()}
    return f"{known.name}({', '.join(f'{name}={value}' for name, value in values.items())})" if values else known.name


def of_values(slots: dict[str, str], hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """Hyper-parameters of ``compose`` for given slots, with a recipe."""
    return {**{slot: slots.get(slot, "") for slot in TITLES}, **hyperparameters}
