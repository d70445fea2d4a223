"""How a head is fitted: the optimisation that every strategy shares. Free of torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, TypedDict

from lt_bench.core.errors import UserError

Schedule = Literal["cosine", "constant", "step"]
Views = Literal["augmented", "plain", "all"]


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent on batches of cached features.

    ``lr``, ``momentum`` and ``weight_decay`` may be tuples with one value per head of a stack.

    Attributes:
        lr: learning rate of the first epoch after warm-up.
        momentum: of SGD (torch's form, no dampening).
        nesterov: whether the momentum is Nesterov's.
        weight_decay: L2 penalty added to the gradient of every trained parameter.
        batch_size: samples per step over all processes together.
        epochs: passes over N samples.
        schedule: cosine to 0, constant, or a ``decay`` at each of ``milestones``; the rate changes once per epoch.
        milestones: epochs before which ``step`` multiplies the rate.
        decay: that factor.
        warmup_epochs: epochs of linear warm-up, from lr / warmup_epochs.
        views: which stored training views batches are drawn from: ``augmented`` (those other than the plain one; the plain one where a cache has no other),
            ``plain``, or ``all``.
    """

    lr: float | tuple[float, ...] = 0.1
    momentum: float | tuple[float, ...] = 0.9
    nesterov: bool = False
    weight_decay: float | tuple[float, ...] = 5e-4
    batch_size: int = 64
    epochs: int = 20
    schedule: Schedule = "cosine"
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    warmup_epochs: int = 0
    views: Views = "augmented"

    def __post_init__(self) -> None:
        """Refuse values that cannot be fitted with."""
        for name, low in (("lr", 0.0), ("momentum", 0.0), ("weight_decay", 0.0)):
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if not (math.isfinite(one) and one >= low) or (name == "momentum" and one >= 1):
                    raise UserError(f"{name} is {one}, expected {'0 <= momentum < 1' if name == 'momentum' else 'a finite number >= 0'}")
        for name, low in (("batch_size", 1), ("epochs", 1), ("warmup_epochs", 0)):
            if getattr(self, name) < low:
                raise UserError(f"{name} is {getattr(self, name)}, expected at least {low}")

    def factor(self, epoch: int) -> float:
        """The factor of the learning rate in ``epoch`` (from 0), as the official code has it: one value an epoch, cosine reaching 0 after the last."""
        if epoch < self.warmup_epochs:
            return (epoch + 1) / self.warmup_epochs
        if self.schedule == "cosine":
            done = (epoch - self.warmup_epochs) / max(1, self.epochs - self.warmup_epochs)
            return 0.5 * (1 + math.cos(math.pi * done))
        if self.schedule == "step":
            return self.decay ** sum(epoch >= milestone for milestone in self.milestones)
        return 1.0

    def rate(self, name: str) -> float:
        """``lr``, ``momentum`` or ``weight_decay`` of the one head."""
        value = getattr(self, name)
        return value[0] if isinstance(value, tuple) else value

    def per_head(self, name: str, heads: int) -> tuple[float, ...]:
        """``lr``, ``momentum`` or ``weight_decay`` of each head of a stack."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * heads


class RecipeOptions(TypedDict, total=False):
    """Any field of ``Recipe``, as keyword arguments of a strategy."""

    lr: float | tuple[float, ...]
    momentum: float | tuple[float, ...]
    nesterov: bool
    weight_decay: float | tuple[float, ...]
    batch_size: int
    epochs: int
    schedule: Schedule
    milestones: tuple[int, ...]
    decay: float
    warmup_epochs: int
    views: Views


RECIPE_FIELDS = tuple(field.name for field in dataclasses.fields(Recipe))
