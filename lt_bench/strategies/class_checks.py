"""Refusals when the class of a strategy is made: misspelt slots, attributes that hide or switch off a slot, a missing name. Free of torch."""

from __future__ import annotations

import difflib
from typing import Any

from lt_bench.core.errors import UserError
from lt_bench.strategies.recipe import RECIPE_FIELDS
from lt_bench.strategies.slots.vocabulary import ATTRIBUTES

BOUND = ("trainable", "classifier", "weighting", "projection", "at_inference")
"""Attributes of a strategy that hold an entry of the vocabulary, or None."""
SLOT_ATTRIBUTES = (*BOUND, "transform", "target", "kernel", "regulariser")
"""Attributes whose entries are bound to every instance, the last four in the place of a method; ``sampler`` and ``initial_head`` are used as they are."""
METHODS = (
    "initial_parameters", "logits", "transform", "target", "kernel", "modulate", "sample_weight", "loss", "denominator", "regulariser",
    "batch_statistic", "project", "relative_rates", "begin", "begin_epoch", "redraw", "augment", "observe", "before_update", "statistics", "end_epoch",
    "sample_weights", "solve", "inference_head", "classifier_rows", "classifier_input", "objective", "trained_parameters",
)  # fmt: skip
"""Methods of the contract, which an override replaces and a value must not hide."""
FACTS = (
    "sampler",
    "initial_head",
    "recipe",
    "settings",
    "official",
    "stackable",
    "reduction",
    "capturable",
    "needs_whole_batch",
    "revision",
)
SWITCHED_OFF = {
    "weighting": ("modulate", "loss"),
    "projection": ("project",),
    "classifier": ("logits", "inference_head"),
    "trainable": ("logits", "relative_rates", "inference_head"),
    "at_inference": ("inference_head",),
    "target": ("kernel", "loss"),
    "transform": ("loss",),
    "kernel": ("loss",),
}
"""Methods that use the entry of each attribute; an override that does not call the base method leaves the entry without effect."""
OTHER_WORDS = {
    "weights": "weighting",
    "sampling": "sampler",
    "head": "initial_head",
    "post_hoc": "at_inference",
    "margin_loss": "transform",
}
"""Words of the field that are near to no slot in spelling, and the slot that they mean."""
NEARLY = 0.83
"""Likeness (``difflib``) from which on a name counts as a misspelt slot."""


def check_class(cls: type, base: type, abstract: bool) -> None:
    """Refuse a class without a name, or with misspelt, misplaced or ineffective declarations.

    Raises:
        UserError: the message says, in one line, what to change.
    """
    where = f"{cls.__module__}.{cls.__qualname__}"
    if not abstract and not cls.__dict__.get("name"):
        raise UserError(
            f'{where} has no name; give it one: name = "my_head" (a base class of others says `class {cls.__name__}(..., abstract=True)`)'
        )
    for attribute, declared in cls.__dict__.get("declared", {}).items():
        _check_hyperparameter(where, attribute, declared.name, base, takes_batches=getattr(cls, "fitting", "sgd") == "sgd")
    for attribute, value in cls.__dict__.items():
        _check_value(where, attribute, value)
        _check_spelling(where, attribute, base)
    _check_switched_off(where, cls, base)


def check_not_a_slot(cls: type, base: type, attribute: str) -> None:
    """Refuse an attribute of an instance that would hide a slot, or be hidden by one.

    Raises:
        UserError: the message names the slot.
    """
    if (attribute in METHODS and hasattr(base, attribute)) or attribute in BOUND:
        raise UserError(
            f"{cls.__module__}.{cls.__qualname__}: self.{attribute} = ... would hide the slot {attribute}; call the attribute otherwise"
        )


def is_entry(value: Any) -> bool:
    """Whether a value is an entry of the vocabulary."""
    return hasattr(value, "slot") and hasattr(value, "arguments")


def _check_hyperparameter(where: str, attribute: str, name: str, base: type, *, takes_batches: bool) -> None:
    """Refuse a hyper-parameter whose name is taken by a slot, an attribute of the base or, where batches are taken, a field of the recipe."""
    if attribute in (*METHODS, *SLOT_ATTRIBUTES):
        raise UserError(
            f'{where}: a hyper-parameter called {attribute} would hide the slot {attribute}; call the attribute otherwise and keep its name with hyper(..., name="{attribute}")'
        )
    if takes_batches and name in RECIPE_FIELDS:
        raise UserError(f"{where}: a hyper-parameter cannot be called {name}, which is a field of the recipe; call it otherwise")
    owned = (
        "facts",
        "heads",
        "draws",
        "source",
        "held_out",
        "solved",
        "given",
        "weight",
        "bias",
        "class_counts",
        "class_weight",
        "processes",
    )
    if attribute in owned or (hasattr(base, attribute) and attribute != "reduction"):
        raise UserError(
            f'{where}: self.{attribute} is something else already; call the attribute otherwise, with hyper(..., name="{name}")'
        )


def _check_value(where: str, attribute: str, value: Any) -> None:
    """Refuse an entry under the attribute of another slot, and a value of another kind under a slot's attribute."""
    if is_entry(value) and attribute != ATTRIBUTES[value.slot]:
        raise UserError(
            f"{where}.{attribute} is an entry of the slot {value.slot}, which is filled by the attribute {ATTRIBUTES[value.slot]}"
        )
    if attribute in BOUND and not (value is None or is_entry(value)):
        raise UserError(f"{where}.{attribute} is {value!r}, expected an entry of `lt-bench list slots`, or None")
    if attribute in METHODS and not (callable(value) or isinstance(value, property)):
        raise UserError(
            f"{where}.{attribute} is {value!r}, which would hide the slot {attribute}; expected a method or an entry of `lt-bench list slots`"
        )


def _check_switched_off(where: str, cls: type, base: type) -> None:
    """Refuse an entry that a method of the class leaves without effect, and a ``reduction`` beside a weighting entry, which states its own."""
    kernel: Any = getattr(cls, "kernel", None)
    if is_entry(kernel) and getattr(cls, "target", None) is not getattr(base, "target", None) and not _is_one_hot(cls):
        raise UserError(f"{where}: kernel {kernel.name} has a target of its own, so target would have no effect; leave out one of them")
    for attribute, methods in SWITCHED_OFF.items():
        entry: Any = getattr(cls, attribute, None)
        for method in methods if is_entry(entry) else ():
            if not is_entry(getattr(cls, method)) and not _uses(cls, method, attribute, base):
                raise UserError(
                    f"{where}.{method} leaves {attribute} = {entry.name or type(entry).__name__} without effect; call super().{method}(...) in it, or leave out one of them"
                )
    stated = any("reduction" in one.__dict__ for one in cls.__mro__ if one is not base and issubclass(one, base))
    if stated and is_entry(getattr(cls, "weighting", None)):
        raise UserError(
            f"{where}: the entry of weighting says by what the batch's loss is divided; give it reduction, and leave out the attribute"
        )


def _is_one_hot(cls: type) -> bool:
    return is_entry(cls.target) and cls.target.name == "one_hot"


def _uses(cls: type, method: str, attribute: str, base: type) -> bool:
    """Whether a method reaches an entry: each override calls ``super()``, until one reads ``attribute`` or the base's own method comes."""
    for one in cls.__mro__:
        code = getattr(one.__dict__.get(method), "__code__", None)
        if one is base or (code is not None and attribute in code.co_names):
            return True
        if code is not None and "__class__" not in code.co_freevars:  # the mark of ``super()`` in a method
            return False
    return True


def _check_spelling(where: str, attribute: str, base: type) -> None:
    """Refuse a public name that is not in the contract but resembles a name that is."""
    if attribute.startswith("_") or hasattr(base, attribute):
        return
    near: list[Any] = difflib.get_close_matches(attribute, (*METHODS, *SLOT_ATTRIBUTES, *FACTS), n=1, cutoff=NEARLY)
    near = near or ([OTHER_WORDS[attribute]] if attribute in OTHER_WORDS else [])
    if near:
        raise UserError(
            f"{where}.{attribute} is no slot and would be ignored; did you mean {near[0]!r}? (a helper of that name begins with an underscore)"
        )
