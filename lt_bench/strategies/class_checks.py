"""What is refused when a class of a strategy is made: misspelt slots, attributes that hide a slot, a missing name. Free of torch."""

from __future__ import annotations

import difflib
from typing import Any

from lt_bench.core.errors import UserError

SLOT_ATTRIBUTES = (
    "trainable", "classifier", "transform", "target", "kernel", "weighting", "regulariser", "projection", "at_inference",
)  # fmt: skip
"""Attributes of a strategy whose entries of the vocabulary are bound to every instance; ``sampler`` and ``initial_head`` are used as they are."""
METHODS = (
    "initial_parameters", "logits", "transform", "target", "kernel", "modulate", "sample_weight", "loss", "denominator", "regulariser",
    "batch_statistic", "project", "relative_rates", "begin", "begin_epoch", "redraw", "observe", "before_update", "statistics", "end_epoch",
    "sample_weights", "solve", "inference_head", "classifier_rows", "classifier_input", "objective", "trained_parameters",
)  # fmt: skip
"""Methods of the contract, which an override replaces and a value must not hide."""
NEARLY = 0.83
"""Likeness (``difflib``) from which on a name counts as a misspelt slot."""


def check_class(cls: type, base: type, abstract: bool) -> None:
    """Refuse a class that cannot mean what it says.

    Raises:
        UserError: in one line, what to change.
    """
    where = f"{cls.__module__}.{cls.__qualname__}"
    if not abstract and not cls.__dict__.get("name"):
        raise UserError(
            f'{where} has no name; give it one: name = "my_head" (a base class of others says `class {cls.__name__}(..., abstract=True)`)'
        )
    for attribute in cls.__dict__.get("declared", {}):
        if attribute in (*METHODS, *SLOT_ATTRIBUTES):
            raise UserError(
                f'{where}: a hyper-parameter called {attribute} would hide the slot {attribute}; call the attribute otherwise and keep its name with hyper(..., name="{attribute}")'
            )
    for attribute, value in cls.__dict__.items():
        if attribute in METHODS and not (callable(value) or isinstance(value, property)):
            raise UserError(
                f"{where}.{attribute} is {value!r}, which would hide the slot {attribute}; expected a method or an entry of `lt-bench list slots`"
            )
        _check_spelling(where, attribute, base)


def check_not_a_slot(cls: type, base: type, attribute: str) -> None:
    """Refuse to set a value on an instance that would hide a slot.

    Raises:
        UserError: names the slot.
    """
    if attribute in METHODS and hasattr(base, attribute):
        raise UserError(
            f"{cls.__module__}.{cls.__qualname__}: self.{attribute} = ... would hide the slot {attribute}; call the attribute otherwise"
        )


def _check_spelling(where: str, attribute: str, base: type) -> None:
    """Refuse a public name that is no part of the contract and nearly one."""
    if attribute.startswith("_") or hasattr(base, attribute):
        return
    words = (
        *METHODS,
        *SLOT_ATTRIBUTES,
        "sampler",
        "initial_head",
        "recipe",
        "settings",
        "official",
        "stackable",
        "reduction",
        "capturable",
        "needs_whole_batch",
    )
    near: list[Any] = difflib.get_close_matches(attribute, words, n=1, cutoff=NEARLY)
    if near:
        raise UserError(
            f"{where}.{attribute} is no slot and would be ignored; did you mean {near[0]!r}? (a helper of that name begins with an underscore)"
        )
