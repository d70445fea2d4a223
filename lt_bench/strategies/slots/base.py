"""The base of all entries of the vocabulary: a module with declared parameters that a strategy binds to its own hyper-parameters."""

from __future__ import annotations

import copy
from abc import ABC
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from torch import Tensor, nn

from lt_bench.core.errors import UserError
from lt_bench.strategies.facts import Facts
from lt_bench.strategies.hyper import Hyperparameter, declared_in
from lt_bench.strategies.noise import Draws
from lt_bench.strategies.recipe import Recipe


class Owner(Protocol):
    """The attributes of a strategy that an entry reads."""

    name: ClassVar[str]
    declared: ClassVar[dict[str, Hyperparameter]]
    facts: Facts
    heads: int | None
    draws: Draws
    class_counts: Tensor
    recipe: Recipe


class Slot(nn.Module, ABC):
    """An entry of the vocabulary of a slot, such as ``log_prior(tau)`` of the slot transform.

    As a class attribute of a strategy an entry is a declaration: ``target = Smooth("epsilon")`` takes its parameter from the strategy's hyper-parameter
    ``epsilon``, ``target = Smooth(0.98)`` fixes it. Every instance of the strategy gets a bound copy, whose parameters are numbers, or (H, 1) tensors in a
    stack of H heads.

    Attributes:
        slot: name of the slot.
        changes_rows: whether the entry changes the fitted rows or their scale, which is not possible beside a classifier that normalises rows.
        name: name of the entry in ``lt-bench list slots`` and ``--strategy compose``; an entry of the user's own goes by its dotted path.
        stackable: whether an entry of the user's own also supports stacks of heads; otherwise compositions with it are fitted head by head.
    """

    slot: ClassVar[str] = ""
    name: ClassVar[str] = ""
    changes_rows: ClassVar[bool] = False
    stackable: ClassVar[bool] = False
    declared: ClassVar[dict[str, Hyperparameter]] = {}

    if TYPE_CHECKING:

        def __new__(cls, *values: Any, **named: Any) -> Any:
            """Any to type checkers, as a declaration stands where a strategy has a method."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Collect the declared parameters."""
        super().__init_subclass__(**kwargs)
        cls.declared = declared_in(cls)

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__()
        unknown = [name for name in named if name not in self.declared]
        if unknown or len(values) > len(self.declared):
            raise UserError(
                f"{self.name or type(self).__name__}: takes {', '.join(self.declared) or 'no parameters'}, got {', '.join(unknown) or len(values)}"
            )
        self.arguments: dict[str, Any] = dict(zip(self.declared, values, strict=False)) | named

    def __get__(self, instance: nn.Module | None, owner: type) -> Self:
        return self if instance is None else instance.__dict__["_modules"][self.slot]

    def bound(self, strategy: Owner) -> Slot:
        """Copy the entry for one instance of a strategy; an argument that names a hyper-parameter takes the strategy's value of it.

        Raises:
            UserError: a value outside the declared range.
        """
        bound = copy.copy(self)
        own = {"_parameters": {}, "_buffers": {}, "_modules": {}, "_non_persistent_buffers_set": set()}
        vars(bound).update(own)  # a shallow copy shares these with the declaration
        for attribute, declared in self.declared.items():
            value = self.arguments.get(attribute, declared.default)
            if isinstance(value, str) and value in strategy.declared:
                value = getattr(strategy, value)
            declared.check(self.name or type(self).__name__, value)
            assign(bound, attribute, value)
        bound.facts, bound.heads, bound.draws, bound.epochs = strategy.facts, strategy.heads, strategy.draws, strategy.recipe.epochs
        bound.owner = strategy.name
        bound.prepare(strategy.class_counts)
        return bound

    def prepare(self, class_counts: Tensor) -> None:
        """Make tables per class from ``class_counts`` (K,), float64, and from the parameters; called once, when the strategy is made."""

    def takes_off(self) -> float | None:
        """Power of the training frequencies that the entry removes from the prior that logits assume (``strategies.assumed_prior``); None where unknown."""
        return None

    @property
    def leading(self) -> tuple[int, ...]:
        """Leading dimensions of tensors with one entry a head: (H,), or () for one head."""
        return () if self.heads is None else (self.heads,)

    facts: Facts
    heads: int | None
    draws: Draws
    epochs: int
    owner: str


def assign(module: nn.Module, attribute: str, value: Any) -> None:
    """Give a module a hyper-parameter: a number as it is, one value a head (H, 1) as a buffer, which moves with the module."""
    if isinstance(value, Tensor):
        module.register_buffer(attribute, value, persistent=False)
    else:
        setattr(module, attribute, value)
