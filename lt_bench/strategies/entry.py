"""Entry of a strategy in the registry: facts that need no import, and its hyper-parameters for a data set. Free of torch."""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from lt_bench.core.errors import UserError
from lt_bench.core.names import suggestion
from lt_bench.strategies import composition, ensembles
from lt_bench.strategies.hyper import Hyperparameter
from lt_bench.strategies.official import Official
from lt_bench.strategies.recipe import EITHER, RECIPE_FIELDS, Recipe, RecipeOptions, either, stated
from lt_bench.strategies.slots.vocabulary import COMPOSE

INHERITED: dict[str, Any] = {
    "sampler": "instance", "initial_head": "joint", "trains": "weight and bias", "fitting": "sgd", "official": (), "settings": {}, "grid": {},
    "inferred": False, "selected_on_val": False, "family": "", "paper": "", "recipe": Recipe(), "stackable": False,
    "revision": 1,
}  # fmt: skip
RESERVED = ("matmul", "stage1_recipe", "phase1")
"""Stand beside hyper-parameters in a record."""
PACKAGE = "lt_bench.strategies."


@dataclass(frozen=True)
class Entry:
    """A strategy as the registry knows it without importing it; the attributes are those of ``strategies.contract.Strategy``.

    Attributes:
        slots: entries of the vocabulary by slot, in the words of ``compose``; None for a class that the vocabulary cannot say.
        cls: the class, if it is imported already.
        members: members of an ensemble; empty for other strategies.
    """

    name: str
    class_path: str
    family: str
    paper: str
    sampler: str
    initial_head: str
    trains: str
    fitting: str
    recipe: Recipe
    official: tuple[Official, ...]
    settings: dict[str, dict[str, Any]]
    grid: dict[str, tuple[Any, ...]]
    inferred: bool
    selected_on_val: bool
    stackable: bool
    revision: int
    doc: str
    hyperparameters: tuple[Hyperparameter, ...]
    slots: dict[str, str] | None = None
    cls: Any = None
    members: tuple[Entry, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names of hyper-parameters that records reserve, make ``official`` a tuple, and merge the grids.

        Raises:
            UserError: a hyper-parameter has a reserved name, or ``official`` holds something other than `Official`.
        """
        for hyperparameter in self.hyperparameters:
            if hyperparameter.name in RESERVED:
                raise UserError(
                    f"{self.class_path}: a hyper-parameter cannot be called {hyperparameter.name}, records mean something else by it"
                )
        official = (self.official,) if isinstance(self.official, Official) else tuple(self.official)
        if wrong := [one for one in official if not isinstance(one, Official)]:
            raise UserError(f"{self.class_path}: official is {wrong[0]!r}, expected Official(repository, commit, config, dataset)")
        object.__setattr__(self, "official", official)
        declared = {one.name: one.grid for one in self.hyperparameters if one.grid}
        merged = declared | self.grid
        object.__setattr__(self, "grid", {name: values for name, values in merged.items() if values})

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.strip().splitlines()[0]

    @property
    def is_own(self) -> bool:
        """Whether this is a strategy of the user's own, and none of the suite's."""
        return not self.class_path.startswith(PACKAGE)

    @property
    def public_name(self) -> str:
        """The name on the command line and in records: its name, or the dotted path of a strategy of the user's own."""
        return self.class_path if self.is_own else self.name

    def types(self) -> dict[str, Any]:
        """The type of every hyper-parameter that one head takes, the recipe's included."""
        if self.members:
            return ensembles.types(self.members)
        recipe = {}
        if self.fitting == "sgd":
            rates = ("lr", "momentum", "weight_decay")
            recipe = {key: float if key in rates else kind for key, kind in typing.get_type_hints(RecipeOptions).items()}
        return recipe | {hyperparameter.name: hyperparameter.type for hyperparameter in self.hyperparameters}

    def resolve(self, dataset: str, imbalance_factor: float | None = None, given: dict[str, Any] | None = None) -> dict[str, Any]:
        """All hyper-parameters for a data set, the recipe included: defaults, then the strategy's settings for ``dataset`` and ``dataset@IF``, then ``given``.

        Of two fields for one length (epochs, iterations), only the one in force is present; fields that records leave out (``recipe.NEUTRAL``) are absent.

        Raises:
            UserError: a given name is unknown to the strategy (with a suggestion), or one length is given in epochs and in steps.
        """
        if self.members:
            return self._of_members(given or {}, lambda member, own: member.resolve(dataset, imbalance_factor, own))
        return stated(self.options(dataset, imbalance_factor, given), self.recipe)

    def options(self, dataset: str, imbalance_factor: float | None = None, given: dict[str, Any] | None = None) -> dict[str, Any]:
        """The hyper-parameters of ``resolve`` with every option that can be given: None for a length in epochs where one in steps is in force.

        Raises:
            UserError: as ``resolve``.
        """
        if self.members:
            return self._of_members(given or {}, lambda member, own: member.options(dataset, imbalance_factor, own))
        resolved = {h.name: h.default for h in self.hyperparameters}
        if self.fitting == "sgd" or self.is_composition:
            resolved |= dataclasses.asdict(self.recipe)
        known = tuple(resolved)
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in (given or {}).items()}
        for layer in (*(self.settings.get(key, {}) for key in _dataset_keys(dataset, imbalance_factor)), given):
            if unknown := [name for name in layer if name not in known]:
                raise UserError(
                    f"strategy {self.name} has no hyper-parameter {unknown[0]!r}{suggestion(unknown[0], known)}; it has {', '.join(known) or 'none'}"
                )
            resolved = either(resolved, layer)
        resolved |= {epochs: None for epochs, steps in EITHER if epochs in resolved and resolved.get(steps) is not None}
        return self._composed(resolved, given) if self.is_composition else resolved

    def _of_members(self, given: dict[str, Any], options: Callable[[Entry, dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        """The hyper-parameters of an ensemble: the ``options`` of each member, updated by the values given for it."""
        ensembles.check_names(self.name, self.members, given)
        of_members = ensembles.parts(self.members, given)
        return ensembles.joined(self.members, [options(member, own) for member, own in zip(self.members, of_members, strict=True)])

    def _composed(self, resolved: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        """The hyper-parameters of a composition: slots in canonical texts, and no recipe where nothing is trained."""
        resolved = composition.canonical_slots(resolved)
        if resolved["trainable"] != "none":
            return resolved
        if unused := [name for name in given if name in RECIPE_FIELDS]:
            raise UserError(f"{self.name}: with trainable none there is no {unused[0]}, as no step is taken; leave one of them out")
        return {name: value for name, value in resolved.items() if name not in RECIPE_FIELDS}

    def with_facts_of(self, hyperparameters: dict[str, Any]) -> Entry:
        """This entry; for a composition, with the facts that its slots state: sampler, initial head, trained parameters."""
        return dataclasses.replace(compose_entry(), **composition.facts(hyperparameters)) if self.is_composition else self

    @property
    def takes_batches(self) -> bool:
        """Whether the strategy, or a member of an ensemble, is fitted on batches, so that repetitions differ."""
        return self.fitting == "sgd" or any(member.takes_batches for member in self.members)

    @property
    def is_composition(self) -> bool:
        """Whether this is ``compose``."""
        return self.name == COMPOSE and not self.is_own

    def is_official(self, dataset: str, imbalance_factor: float | None = None) -> bool:
        """Whether the hyper-parameters for this data set are the official ones; also true of strategies of the suite that have none and take no batches."""
        if self.members:
            return all(member.is_official(dataset, imbalance_factor) for member in self.members)
        known = any(one.holds_for(dataset, imbalance_factor) for one in self.official)
        return not self.inferred and (known or (not self.hyperparameters and self.fitting != "sgd" and not self.is_own))

    def load(self) -> Any:
        """Import the class.

        Raises:
            UserError: its file fails to import.
        """
        if self.cls is not None:
            return self.cls
        if self.is_composition:
            return composition.class_of({})[0]
        module_name, _, class_name = self.class_path.rpartition(".")
        try:
            return getattr(importlib.import_module(module_name), class_name)
        except ImportError as error:
            raise UserError(f"{self.class_path}: cannot be imported ({error})") from None

    @property
    def as_composition(self) -> str | None:
        """The command that runs the strategy, with its defaults, as a composition of slots; None where slots cannot say it."""
        return None if self.slots is None else composition.command(self.slots, self.recipe)

    def class_for(self, hyperparameters: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The class to fit with these hyper-parameters, and those that it takes; compositions and ensembles get a class made for them."""
        if self.members:
            from lt_bench.strategies.ensemble import ensemble_of

            chosen = ensembles.parts(self.members, hyperparameters)
            of = [(member.with_facts_of(own), own) for member, own in zip(self.members, chosen, strict=True)]
            return ensemble_of(self.name, of), {}
        return composition.class_of(hyperparameters) if self.is_composition else (self.load(), hyperparameters)


def _dataset_keys(dataset: str, imbalance_factor: float | None) -> tuple[str, ...]:
    """The names under which settings for a data set may stand, the general first: ``cifar100_lt``, ``cifar100_lt@100``."""
    return (dataset,) if imbalance_factor is None else (dataset, f"{dataset}@{imbalance_factor:g}")


@cache
def compose_entry() -> Entry:
    """The entry of ``compose``, whose hyper-parameters are the slots."""
    facts = {**INHERITED, "recipe": composition.RECIPE, "family": "composition", "paper": "a composition of slots", "stackable": True}
    facts |= {"trains": "what its slots say"}
    return Entry(name=COMPOSE, class_path=PACKAGE + "composition.Compose", doc=composition.DOC, hyperparameters=composition.SLOTS, **facts)


def inherited(facts: dict[str, Any], changed: Collection[str]) -> dict[str, Any]:
    """Facts that a subclass inherits from its base: without ``official``, and without settings of hyper-parameters whose default the subclass changes."""
    settings = {dataset: {k: v for k, v in values.items() if k not in changed} for dataset, values in facts["settings"].items()}
    return facts | {"official": (), "settings": {dataset: values for dataset, values in settings.items() if values}}
