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
from lt_bench.strategies.official import Official
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
        origin: in words; what differs from the official code stands in ``official``.
        optimisation: SGD and its schedule; weight decay is on every parameter.
        mixup: alpha of the Beta distribution that mixing weights are drawn from, one a batch; 0 is no mixup.
        phase1_epochs: epochs of cross-entropy before the loss that the schedule is made for; an end-to-end run begins with their checkpoint.
        official: code that states these numbers; none where the recipe is ours.
    """

    name: str
    origin: str
    optimisation: Recipe
    mixup: float = 0.0
    phase1_epochs: int = 0
    official: tuple[Official, ...] = ()

    @property
    def source(self) -> str:
        """The official code and the words, in one line."""
        return "; ".join([*map(str, self.official), self.origin])

    def with_epochs(self, epochs: int | None) -> Stage1Recipe:
        """Recipe for another number of epochs: milestones and the end of phase 1 move in proportion, warm-up stays but for short runs."""
        if epochs is None or epochs == self.optimisation.epochs:
            return self
        old = self.optimisation
        changed = dataclasses.replace(
            old,
            epochs=epochs,
            milestones=tuple(round(milestone * epochs / old.epochs) for milestone in old.milestones),
            warmup_epochs=min(old.warmup_epochs, epochs // 2),
        )
        return dataclasses.replace(self, optimisation=changed, phase1_epochs=round(self.phase1_epochs * epochs / old.epochs))

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
        origin = f"{self.origin}; with {', '.join(f'{name} {_exact(value)}' for name, value in others.items())} in place of its own"
        return dataclasses.replace(self, origin=origin, optimisation=optimisation, mixup=others.get("mixup", self.mixup))

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
        "stage 1 of LOS, and of weight balancing with 200 epochs in place of 320",
        Recipe(lr=0.01, momentum=0.9, weight_decay=5e-3, batch_size=64, epochs=200, schedule="cosine"),
        official=tuple(Official("bilibili/LOS", "50652c0", f"main_stage1.py --imb_ratio {n}", "cifar100_lt", n) for n in (10, 50, 100)),
    ),
    Stage1Recipe(
        "ldam",
        "the optimisation of LDAM-DRW with cross-entropy",
        _LDAM,
        official=tuple(
            Official("kaidic/LDAM-DRW", "2536330", "cifar_train.py --loss_type CE --train_rule None --imb_factor 0.01", name, 100)
            for name in ("cifar10_lt", "cifar100_lt")
        ),
    ),
    Stage1Recipe(
        "ib",
        "the optimisation of IB, for an end-to-end run from epoch 100: that of ldam whose rate falls by a hundred where the influence-balanced loss begins",
        dataclasses.replace(_LDAM, milestones=(100, 160, 180)),
        phase1_epochs=100,
        official=tuple(
            Official("pseulki/IB-Loss", "b29b8b0", "cifar_train.py --loss_type IB --train_rule IBReweight --start_ib_epoch 100 --imb_factor 0.01", name, 100)
            for name in ("cifar10_lt", "cifar100_lt")
        ),
    ),
    Stage1Recipe(
        "mixup",
        "stage 1 of MiSLAS on CIFAR",
        dataclasses.replace(_LDAM, weight_decay=5e-4, decay=0.1),
        mixup=1.0,
        official=tuple(
            Official(
                "dvlab-research/MiSLAS", "0fc381e", f"config/cifar{number}/cifar{number}_imb{share}_stage1_mixup.yaml", f"cifar{number}_lt", factor,
                "weight decay 5e-4, which its README recommends in place of 2e-4",
            )
            for number in (10, 100) for share, factor in (("001", 100), ("002", 50), ("01", 10))
        ),
    ),
    Stage1Recipe(
        "decoupling",
        "stage 1 of Kang et al. 2020 with 90 epochs",
        Recipe(lr=0.2, momentum=0.9, weight_decay=5e-4, batch_size=512, epochs=90, schedule="cosine"),
        official=(Official("facebookresearch/classifier-balancing", "f162ade", "config/ImageNet_LT/feat_uniform.yaml", "imagenet_lt", None, "the code steps the schedule before each epoch and skips the last batch"),),
    ),
    Stage1Recipe(
        "fast",
        "ours: on CIFAR-100-LT IF 100 learning rate x weight decay x steps is the 1.7 of los, in a quarter of its steps",
        Recipe(lr=0.05, momentum=0.9, nesterov=True, weight_decay=4e-3, batch_size=128, epochs=100, schedule="cosine", warmup_epochs=2),
    ),
)  # fmt: skip
RECIPES = {recipe.name: recipe for recipe in _RECIPES}
"""Stage-1 recipes by name."""


def stage1_recipe(name: str) -> Stage1Recipe:
    """The recipe of a name.

    Raises:
        UserError: no such recipe; names the nearest.
    """
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name.lower(), RECIPES, n=1, cutoff=0.5)
    raise UserError(f"no recipe is called {name!r}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(RECIPES)}"))
