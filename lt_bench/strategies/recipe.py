"""The optimisation of a head, which every strategy shares. Free of torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from lt_bench.core.errors import UserError

Schedule = Literal["cosine", "constant", "step"]
Views = Literal["augmented", "plain", "all"]
EITHER = (("epochs", "iterations"), ("warmup_epochs", "warmup_iterations"))
"""Fields of which one is stated: a length in epochs, or in optimizer steps."""
NEUTRAL: dict[str, Any] = {"schedule_offset": 0, "warmup_from": 0.0}
"""Fields that a record's hyper-parameters leave out at these values, as they did before there were such fields."""


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
        iterations: optimizer steps, in place of ``epochs``: the fit ends at this step, and the schedule spans the epochs that hold it.
        schedule: cosine to 0, constant, or a ``decay`` at each of ``milestones``; the rate changes once per epoch.
        milestones: epochs before which ``step`` multiplies the rate.
        decay: that factor.
        warmup_epochs: epochs of linear warm-up, from lr / warmup_epochs.
        warmup_iterations: steps of it, in place of ``warmup_epochs``, rounded up to whole epochs.
        warmup_from: the warm-up's first rate as a fraction of ``lr``, its last that before ``lr`` is reached; 0 for lr / warmup_epochs.
        schedule_offset: epochs by which the schedule is ahead; 1 where official code steps it before each epoch, so that the rates are those of 1 to E.
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
    iterations: int | None = None
    warmup_iterations: int | None = None
    warmup_from: float = 0.0
    schedule_offset: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot be fitted with."""
        for name, low in (("lr", 0.0), ("momentum", 0.0), ("weight_decay", 0.0)):
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if not (math.isfinite(one) and one >= low) or (name == "momentum" and one >= 1):
                    raise UserError(f"{name} is {one}, expected {'0 <= momentum < 1' if name == 'momentum' else 'a finite number >= 0'}")
        lowest = {"batch_size": 1, "epochs": 1, "iterations": 1, "warmup_epochs": 0, "warmup_iterations": 0, "schedule_offset": 0}
        for name, low in lowest.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise UserError(f"{name} is {value}, expected at least {low}")
        if not 0 <= self.warmup_from <= 1:
            raise UserError(f"warmup_from is {self.warmup_from}, expected 0 to 1")

    def changed(self, given: dict[str, Any]) -> Recipe:
        """The recipe with other values; a length in epochs takes the place of one in steps, and the other way round.

        Raises:
            UserError: both fields for one length are given, or a value cannot be fitted with.
        """
        return Recipe(**either(dataclasses.asdict(self), given))

    def for_samples(self, samples: int) -> Recipe:
        """The recipe with its lengths in epochs of ``samples`` samples too; ``iterations`` stays, as the step at which the fit ends."""
        steps = self.steps_of_epoch(samples)
        epochs = self.epochs if self.iterations is None else -(-self.iterations // steps)
        warmup = self.warmup_epochs if self.warmup_iterations is None else -(-self.warmup_iterations // steps)
        return dataclasses.replace(self, epochs=epochs, warmup_epochs=warmup)

    def steps_of_epoch(self, samples: int) -> int:
        """Optimizer steps of a whole epoch of ``samples`` samples, a last one of fewer than ``batch_size`` included."""
        return max(1, -(-samples // self.batch_size))

    def samples_of(self, epoch: int, samples: int) -> int:
        """Samples that ``epoch`` (from 0) takes of its ``samples``: all of them, but in the last epoch of a budget in steps."""
        if self.iterations is None:
            return samples
        return min(samples, self.batch_size * max(0, self.iterations - epoch * self.steps_of_epoch(samples)))

    def factor(self, epoch: int) -> float:
        """The factor of the learning rate in ``epoch`` (from 0), as the official code has it: one value an epoch, cosine reaching 0 after the last."""
        first, epoch = self.schedule_offset, epoch + self.schedule_offset
        if epoch < self.warmup_epochs and self.warmup_from > 0:
            return self.warmup_from + (1 - self.warmup_from) * (epoch - first) / max(1, self.warmup_epochs - first)
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
    iterations: int
    warmup_iterations: int
    warmup_from: float
    schedule_offset: int


RECIPE_FIELDS = tuple(field.name for field in dataclasses.fields(Recipe))


def either(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Update hyper-parameters ``base`` by those ``given``; of two fields for one length, the given one replaces the other.

    Raises:
        UserError: both fields for one length are given.
    """
    given = {name: value for name, value in given.items() if value is not None or not any(name == steps for _, steps in EITHER)}
    merged = base | given
    for pair in EITHER:
        stated = [name for name in pair if name in given]
        if len(stated) == 2:
            raise UserError(f"{stated[0]} and {stated[1]} were both given; leave out one of them")
        if stated == [pair[0]]:
            merged[pair[1]] = None
    return merged


def stated(hyperparameters: dict[str, Any], default: Recipe) -> dict[str, Any]:
    """Hyper-parameters as a record stores them: of two fields for one length the one in force, and fields of ``NEUTRAL`` only if their value here or in ``default`` is not neutral."""
    unused = {epochs if hyperparameters.get(steps) is not None else steps for epochs, steps in EITHER}
    unused |= {name for name, value in NEUTRAL.items() if hyperparameters.get(name) == value == getattr(default, name)}
    return {name: value for name, value in hyperparameters.items() if name not in unused}


def recipe_of(hyperparameters: dict[str, Any], samples: int) -> Recipe:
    """The recipe that hyper-parameters state, for ``samples`` training samples; other hyper-parameters are left out."""
    return Recipe(**{name: value for name, value in hyperparameters.items() if name in RECIPE_FIELDS}).for_samples(samples)
