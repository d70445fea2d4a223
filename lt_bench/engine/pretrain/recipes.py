"""Stage-1 recipes: published ones, as data. Free of torch."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lt_bench.core.errors import UserError
from lt_bench.core.names import suggestion
from lt_bench.strategies.recipe import Recipe

FIELDS: dict[str, type[int | float]] = {
    "lr": float, "momentum": float, "weight_decay": float, "batch_size": int, "decay": float, "warmup_epochs": int, "mixup": float,
}  # fmt: skip
"""Numbers of a recipe that may be set to others, and their kinds; ``with_epochs`` sets its length."""


@dataclass(frozen=True)
class Stage1Recipe:
    """Cross-entropy on instance-balanced batches of augmented images.

    Attributes:
        name: as on the command line.
        source: paper or official code, and what of it is inferred.
        optimisation: SGD and its schedule; weight decay is on every parameter.
        mixup: alpha of the Beta distribution that mixing weights are drawn from, one a batch; 0 is no mixup.
    """

    name: str
    source: str
    optimisation: Recipe
    mixup: float = 0.0

    def with_epochs(self, epochs: int | None) -> Stage1Recipe:
        """Recipe for another number of epochs: milestones move in proportion, warm-up stays but for short runs."""
        if epochs is None or epochs == self.optimisation.epochs:
            return self
        old = self.optimisation
        changed = dataclasses.replace(
            old,
            epochs=epochs,
            milestones=tuple(round(milestone * epochs / old.epochs) for milestone in old.milestones),
            warmup_epochs=min(old.warmup_epochs, epochs // 2),
        )
        return dataclasses.replace(self, optimisation=changed)

    def with_fields(self, given: Mapping[str, Any]) -> Stage1Recipe:
        """Recipe with other numbers for some of ``FIELDS``.

        Raises:
            UserError: no such field (names the nearest), a value out of range, or a field that this recipe does not use.
        """
        for name, value in given.items():
            if name not in FIELDS:
                raise UserError(f"recipe.{name}: a recipe has no such number{suggestion(name, FIELDS)}; there are {', '.join(FIELDS)}")
            if name in ("decay", "mixup") and not (math.isfinite(value) and value >= 0):
                raise UserError(f"recipe.{name} is {value}, expected a finite number >= 0")
        if "decay" in given and not self.optimisation.milestones:
            raise UserError(
                f"recipe.decay: recipe {self.name} has no steps to multiply the rate at, its schedule is {self.optimisation.schedule}"
            )
        own = {**dataclasses.asdict(self.optimisation), "mixup": self.mixup}
        others = {name: value for name, value in given.items() if value != own[name]}
        if not others:
            return self
        optimisation = self.optimisation.changed({name: value for name, value in others.items() if name != "mixup"})
        source = f"{self.source}; with {', '.join(f'{name} {_exact(value)}' for name, value in others.items())} in place of its own"
        return dataclasses.replace(self, source=source, optimisation=optimisation, mixup=others.get("mixup", self.mixup))

    def describe(self) -> str:
        """The recipe in one line, for manifests."""
        o = self.optimisation
        steps = f" at {'/'.join(map(str, o.milestones))} x{_exact(o.decay)}" if o.milestones else ""
        parts = [
            f"recipe {self.name}: {o.epochs} epochs, SGD lr {_exact(o.lr)}, momentum {_exact(o.momentum)}{' Nesterov' if o.nesterov else ''}",
            f"weight decay {_exact(o.weight_decay)}, batch {o.batch_size}, {o.schedule}{steps}, warm-up {o.warmup_epochs}",
        ]
        return ", ".join(parts) + (f", mixup {_exact(self.mixup)}" if self.mixup else "")


def _exact(value: Any) -> str:
    """A number in the fewest digits that give it back: a plan tells runs apart by them."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


_LDAM = Recipe(
    lr=0.1, momentum=0.9, weight_decay=2e-4, batch_size=128, epochs=200, schedule="step", milestones=(160, 180), decay=0.01, warmup_epochs=5
)
_RECIPES = (
    Stage1Recipe(
        "los",
        "official LOS code, main_stage1.py; weight balancing's stage 1 with 200 instead of 320 epochs",
        Recipe(lr=0.01, momentum=0.9, weight_decay=5e-3, batch_size=64, epochs=200, schedule="cosine"),
    ),
    Stage1Recipe(
        "ldam",
        "official LDAM-DRW code, its optimisation with cross-entropy: FFDS's phase 1",
        _LDAM,
    ),
    Stage1Recipe(
        "mixup",
        "MiSLAS stage 1 on CIFAR: alpha 1, 200 epochs, weight decay 5e-4 as its README advises; rate, batch and steps inferred from the LDAM code it builds on",
        dataclasses.replace(_LDAM, weight_decay=5e-4),
        mixup=1.0,
    ),
    Stage1Recipe(
        "decoupling",
        "Kang et al. 2020, official code: 90 epochs, cosine",
        Recipe(lr=0.2, momentum=0.9, weight_decay=5e-4, batch_size=512, epochs=90, schedule="cosine"),
    ),
    Stage1Recipe(
        "fast",
        "ours: on CIFAR-100-LT IF 100 learning rate x weight decay x steps is the 1.7 of los, in a quarter of its steps",
        Recipe(lr=0.05, momentum=0.9, nesterov=True, weight_decay=4e-3, batch_size=128, epochs=100, schedule="cosine", warmup_epochs=2),
    ),
)
_BY_NAME = {recipe.name: recipe for recipe in _RECIPES}


def recipe_names() -> tuple[str, ...]:
    """Names of all stage-1 recipes."""
    return tuple(_BY_NAME)


def stage1_recipe(name: str) -> Stage1Recipe:
    """The recipe of a name.

    Raises:
        UserError: no such recipe; names the nearest.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name.lower(), _BY_NAME, n=1, cutoff=0.5)
    raise UserError(f"no recipe is called {name!r}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(_BY_NAME)}"))
