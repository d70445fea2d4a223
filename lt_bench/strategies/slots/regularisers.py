"""Regularisers: terms of the parameters alone, beside the recipe's weight decay."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any

from torch import Tensor, nn

from lt_bench.core.errors import UserError
from lt_bench.strategies._lib.caai25 import log_mean_potential
from lt_bench.strategies._lib.tensors import at_least_float32
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import Slot

MOST_CLASSES = 1024
"""Most classes for which ``uniformity`` makes a table of pairs."""


class Regulariser(Slot):
    """An entry of the slot regulariser; as an attribute of a strategy's instance it is the penalty of its weight."""

    slot = "regulariser"

    def __get__(self, instance: nn.Module | None, owner: type) -> Any:
        return self if instance is None else partial(super().__get__(instance, owner), instance.get_parameter("weight"))

    @abstractmethod
    def __call__(self, weight: Tensor) -> Tensor:
        """The penalty, a scalar (or (H,)), of weight (K, D)."""

    def strength(self, value: float | Tensor, like: Tensor) -> Any:
        """A parameter as a factor of the penalty: a number as it is, (H, 1) as (H,)."""
        return value.flatten().to(like) if isinstance(value, Tensor) else value


class Decay(Regulariser):
    """``amount / 2 ||W||^2``: an L2 penalty of the rows, which leaves the bias free."""

    name = "decay"
    amount: float = hyper(5e-4, low=0, high=1e4, help="strength")

    def __call__(self, weight: Tensor) -> Tensor:
        """The penalty."""
        penalty = weight.square().sum((-2, -1)) / 2
        return self.strength(self.amount, penalty) * penalty


class Uniformity(Regulariser):
    """``amount log mean exp(-2 ||u_a - u_b||^2)`` over pairs of the directions u of the rows. Wang and Isola, ICML 2020."""

    name = "uniformity"
    amount: float = hyper(1.0, low=0, high=1e4, help="strength")

    def prepare(self, class_counts: Tensor) -> None:
        """Refuse so many classes that a table of their pairs is large.

        Raises:
            UserError: more than ``MOST_CLASSES``.
        """
        if class_counts.numel() > MOST_CLASSES:
            raise UserError(
                f"{self.owner}: uniformity compares all pairs of classes, at most {MOST_CLASSES:,}; there are {class_counts.numel():,}"
            )

    def __call__(self, weight: Tensor) -> Tensor:
        """The potential."""
        rows = at_least_float32(weight)
        potential = log_mean_potential(rows if rows.dim() == 3 else rows.unsqueeze(0))
        potential = potential if rows.dim() == 3 else potential.squeeze(0)
        return self.strength(self.amount, potential) * potential
