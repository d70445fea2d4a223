"""Compositions of slots: strategies without a class of their own, and the notation of ``compose`` for the slots of registered ones. Free of torch until one is built."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lt_bench.core.errors import UserError
from lt_bench.core.names import suggestion
from lt_bench.data.class_files import read_prior
from lt_bench.data.priors import check_prior, is_tail
from lt_bench.strategies.hyper import Hyperparameter
from lt_bench.strategies.recipe import RECIPE_FIELDS, Recipe, stated
from lt_bench.strategies.slots.vocabulary import (
    ATTRIBUTES,
    COMPOSE,
    DEFAULTS,
    TITLES,
    arguments,
    canonical,
    described,
    entries,
    entry,
    written_text,
)

RECIPE = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
DOC = """A composition of entries of the vocabulary, one for each slot that is named.

``l_i = w_i * kernel(T(z_i), q_i)``; `lt-bench list slots` shows the entries. The recipe is that of most strategies for a head alone; all of it can be set.
"""
NEEDS = {"sampler": {"weighted": "weights of the samples"}, "initial_head": {"none": "parameters"}}
"""Entries that no composition can have, and what they need."""
SLOTS = tuple(Hyperparameter(slot, str, DEFAULTS.get(slot, ""), help=title, attribute=slot) for slot, title in TITLES.items())
"""Hyper-parameters of ``compose``."""


def class_of(hyperparameters: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The class of a composition, and its other hyper-parameters, which the class takes.

    Raises:
        UserError: an unknown entry or parameter.
    """
    from lt_bench.strategies.contract import Strategy

    slots = {slot: hyperparameters[slot] for slot in TITLES if hyperparameters.get(slot)}
    attributes: dict[str, Any] = {slot: slots.get(slot, default) for slot, default in DEFAULTS.items()}
    attributes |= {ATTRIBUTES[slot]: entry(slot, text) for slot, text in slots.items() if slot not in DEFAULTS}
    stated = facts(slots)
    attributes |= {"__doc__": DOC, "__module__": __name__, "name": COMPOSE, "recipe": RECIPE}
    attributes |= {fact: stated[fact] for fact in ("fitting", "stackable", "trains")}
    return type("Compose", (Strategy,), attributes), {name: value for name, value in hyperparameters.items() if name not in TITLES}


def facts(hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a strategy that follow from the slots of a composition.

    Raises:
        UserError: an unknown entry or parameter.
    """
    slots = {slot: text for slot in TITLES if (text := hyperparameters.get(slot) or DEFAULTS.get(slot))}
    trained = slots.get("trainable", "weight and bias")
    return {
        "sampler": slots["sampler"],
        "initial_head": slots["initial_head"],
        "trains": "nothing" if trained == "none" else trained,
        "fitting": "none" if trained == "none" else "sgd",
        "stackable": all(described(slot, text).stackable for slot, text in slots.items() if slot not in DEFAULTS),
    }


def command(slots: dict[str, str], recipe: Recipe) -> str:
    """The command that runs a composition, with the options that differ from the defaults of ``compose``."""
    given: dict[str, Any] = {slot: text for slot, text in slots.items() if text != DEFAULTS.get(slot)}
    if slots.get("trainable") != "none":
        given |= {name: value for name, value in stated(asdict(recipe), RECIPE).items() if value != getattr(RECIPE, name)}
    words = [
        word for name, value in given.items() for word in (f"--strategy.{name}", str(list(value) if isinstance(value, tuple) else value))
    ]
    return shlex.join(["lt-bench", "run", "--strategy", COMPOSE, "--dataset", "cifar100_lt", *words])


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


def canonical_slots(hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """Replace the text of every slot by its canonical form, so that equal compositions have one identity.

    Raises:
        UserError: an unknown entry or parameter, a value outside its range, or an entry that needs a strategy of its own.
    """
    for slot, needs in NEEDS.items():
        if hyperparameters.get(slot) in needs:
            raise UserError(
                f"{slot} {hyperparameters[slot]} is for classes with {needs[hyperparameters[slot]]} of their own, which a composition does not have"
            )
    slots = [slot for slot in TITLES if hyperparameters.get(slot)]
    return hyperparameters | {slot: canonical(slot, hyperparameters[slot]) for slot in slots}


def with_shares(hyperparameters: dict[str, Any], class_names: Sequence[str], train_counts: Sequence[int]) -> dict[str, Any]:
    """Replace the file of a test prior by its shares, so that a run has one identity wherever the file lies, and can be repeated without it.

    Raises:
        UserError: the name is no prior, or the file does not fit the classes or gives a class with training images no share.
    """
    text = hyperparameters.get("at_inference")
    if not text:
        return hyperparameters
    described, given = arguments("at_inference", text)
    prior = given.get("prior")
    if not isinstance(prior, str) or not described.class_path.startswith("lt_bench."):
        return hyperparameters
    owner = f"at_inference {described.name}"
    check_prior(prior, owner)
    if is_tail(prior):
        return hyperparameters
    named = [
        (name, share) for name, share, count in zip(class_names, read_prior(Path(prior), class_names), train_counts, strict=True) if count
    ]
    if nothing := next((name for name, share in named if share == 0), None):
        raise UserError(f"{owner}: {prior} gives class {nothing!r} no share, so that it could never be predicted; give it a small one")
    shares = tuple(float(f"{share:.6g}") for _, share in named)
    return hyperparameters | {"at_inference": written_text(described, given | {"prior": shares})}


def compose(**hyperparameters: Any) -> type:
    """Make a strategy class from entries of the vocabulary: ``compose(target="smooth(0.98)", transform="margin(0.5)")``.

    Args:
        hyperparameters: slots (see ``lt-bench list slots``), and fields of the recipe, which become its defaults.

    Raises:
        UserError: an unknown slot, entry or parameter.
    """
    slots = {slot: value for slot, value in hyperparameters.items() if slot in TITLES}
    recipe = {name: value for name, value in hyperparameters.items() if name not in TITLES}
    if unknown := [name for name in recipe if name not in RECIPE_FIELDS]:
        raise UserError(
            f"compose has no slot {unknown[0]!r}{suggestion(unknown[0], (*TITLES, *RECIPE_FIELDS))}; it has {', '.join(TITLES)}"
        )
    cls, _ = class_of(slots)
    cls.recipe, cls.composition = RECIPE.changed(recipe), canonical_slots({**DEFAULTS, **slots})
    return cls
