"""Strategies are found by existing: their facts are read from the source with ``ast``, so that listing them imports nothing. Free of torch."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import importlib
import importlib.util
import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_bench.core.errors import FAILURES_OF_CODE, UserError
from lt_bench.strategies.recipe import RECIPE_FIELDS, Recipe, RecipeOptions

if TYPE_CHECKING:
    from lt_bench.strategies.contract import Strategy

_NOT_STRATEGIES = {"contract", "noise", "pages", "recipe", "registry", "__init__"}
_INHERITED: dict[str, Any] = {
    "sampler": "instance", "initial_head": "joint", "trains": "weight and bias", "fitting": "sgd", "official": (), "settings": {}, "grid": {},
    "inferred": False, "selected_on_val": False, "family": "", "paper": "", "recipe": Recipe(),
}  # fmt: skip


@dataclass(frozen=True)
class Hyperparameter:
    """A typed argument of a strategy, as its source says it."""

    name: str
    type: Any
    default: Any


RESERVED = ("matmul", "stage1_recipe", "phase1")
"""Stand beside hyper-parameters in a record."""


@dataclass(frozen=True)
class Entry:
    """What the registry knows of a strategy without importing it; the attributes are those of ``strategies.base.Strategy``."""

    name: str
    class_path: str
    family: str
    paper: str
    sampler: str
    initial_head: str
    trains: str
    fitting: str
    recipe: Recipe
    official: tuple[str, ...]
    settings: dict[str, dict[str, Any]]
    grid: dict[str, tuple[Any, ...]]
    inferred: bool
    selected_on_val: bool
    doc: str
    hyperparameters: tuple[Hyperparameter, ...]

    def __post_init__(self) -> None:
        """Keep names free that records use.

        Raises:
            UserError: a hyper-parameter has such a name.
        """
        for hyperparameter in self.hyperparameters:
            if hyperparameter.name in RESERVED:
                raise UserError(
                    f"{self.class_path}: a hyper-parameter cannot be called {hyperparameter.name}, records mean something else by it"
                )

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.strip().splitlines()[0]

    @property
    def public_name(self) -> str:
        """What the command line and records call it: its name, or the dotted path of a strategy of the user's own."""
        return self.name if self.class_path.startswith("lt_bench.strategies.") else self.class_path

    def types(self) -> dict[str, Any]:
        """The type of every hyper-parameter that one head takes, the recipe's included."""
        recipe = {}
        if self.fitting == "sgd":
            rates = ("lr", "momentum", "weight_decay")
            recipe = {key: float if key in rates else kind for key, kind in typing.get_type_hints(RecipeOptions).items()}
        return recipe | {hyperparameter.name: hyperparameter.type for hyperparameter in self.hyperparameters}

    def resolve(self, dataset: str, imbalance_factor: float | None = None, given: dict[str, Any] | None = None) -> dict[str, Any]:
        """All hyper-parameters for a data set, the recipe included: defaults, then the strategy's settings for ``dataset`` and ``dataset@IF``, then ``given``.

        Raises:
            UserError: a given name that the strategy does not have, with a suggestion.
        """
        resolved = {h.name: h.default for h in self.hyperparameters}
        if self.fitting == "sgd":
            resolved |= dataclasses.asdict(self.recipe)
        chosen = dict(given or {})
        for key in reversed(_dataset_keys(dataset, imbalance_factor)):
            chosen = {**self.settings.get(key, {}), **chosen}
        for name, value in chosen.items():
            if name not in resolved:
                raise UserError(
                    f"strategy {self.name} has no hyper-parameter {name!r}{suggestion(name, resolved)}; it has {', '.join(resolved) or 'none'}"
                )
            resolved[name] = tuple(value) if isinstance(value, list) else value
        return resolved

    def is_official(self, dataset: str, imbalance_factor: float | None = None) -> bool:
        """Whether the hyper-parameters for this data set are the official ones; strategies without any have nothing to infer."""
        known = any(key in self.official for key in _dataset_keys(dataset, imbalance_factor))
        return not self.inferred and (known or (not self.hyperparameters and self.fitting != "sgd"))

    def load(self) -> type[Strategy]:
        """Import the class.

        Raises:
            UserError: its file fails to import.
        """
        module_name, _, class_name = self.class_path.rpartition(".")
        try:
            return getattr(importlib.import_module(module_name), class_name)
        except ImportError as error:
            raise UserError(f"{self.class_path}: cannot be imported ({error})") from None


def _dataset_keys(dataset: str, imbalance_factor: float | None) -> tuple[str, ...]:
    """The names under which settings for a data set may stand, the general first: ``cifar100_lt``, ``cifar100_lt@100``."""
    return (dataset,) if imbalance_factor is None else (dataset, f"{dataset}@{imbalance_factor:g}")


def suggestion(word: str, known: typing.Iterable[str]) -> str:
    """`` (did you mean 'los'?)`` or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def strategy_names() -> tuple[str, ...]:
    """Names of the strategies that come with the suite, sorted."""
    return tuple(sorted(_shipped()))


def find(name: str) -> Entry:
    """The strategy of this name, or at this dotted path ``package.module.Class``.

    Raises:
        UserError: no such strategy (with a suggestion), or no class at that path.
    """
    shipped = _shipped()
    key = name.replace("-", "_").lower()
    if key in shipped:
        return shipped[key]
    if "." in name:
        return _at_path(name)
    raise UserError(f"unknown strategy {name!r}{suggestion(key, shipped)}; `lt-bench list strategies` shows all {len(shipped)}")


@cache
def _shipped() -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem in _NOT_STRATEGIES or path.stem.endswith("_shared"):
            continue
        for entry in _read(path, f"lt_bench.strategies.{path.stem}"):
            if entry.name in found:
                raise UserError(
                    f"{path}: strategy {entry.name!r} is defined in {found[entry.name].class_path} already; names must be unique"
                )
            found[entry.name] = entry
    return found


def _read(path: Path, module: str) -> Iterator[Entry]:
    """Entries of the classes in a file that state a literal ``name``; a class may inherit another's facts from the same file."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    facts: dict[str, dict[str, Any]] = {}
    arguments: dict[str, tuple[Hyperparameter, ...]] = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        base = next((b.id for b in node.bases if isinstance(b, ast.Name) and b.id in facts), None)
        attributes = {**_INHERITED, **(facts[base] if base else {}), **_literals(node, path)}
        own = _arguments(node, path)
        facts[node.name], arguments[node.name] = attributes, own if own is not None else (arguments[base] if base else ())
        if "name" in _literals(node, path):
            doc = ast.get_docstring(node)
            if not doc:
                raise UserError(f"{path}: class {node.name} has no docstring; a strategy's mathematics stands there")
            fields = {f.name for f in dataclasses.fields(Entry)}
            yield Entry(
                class_path=f"{module}.{node.name}", doc=doc, hyperparameters=arguments[node.name],
                **{key: value for key, value in attributes.items() if key in fields},
            )  # fmt: skip


def _literals(node: ast.ClassDef, path: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name, value = statement.targets[0].id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None:
            name, value = statement.target.id, statement.value
        else:
            continue
        if name == "name" or name in _INHERITED:
            try:
                values[name] = _recipe(value) if name == "recipe" else ast.literal_eval(value)
            except ValueError:
                raise UserError(
                    f"{path}:{statement.lineno}: {node.name}.{name} must be a literal, the registry reads it without importing the file"
                ) from None
    return values


def _recipe(value: ast.expr) -> Recipe:
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "Recipe" and not value.args):
        raise ValueError
    return Recipe(**{keyword.arg: ast.literal_eval(keyword.value) for keyword in value.keywords if keyword.arg})


def _arguments(node: ast.ClassDef, path: Path) -> tuple[Hyperparameter, ...] | None:
    """Keyword-only arguments of ``__init__`` with their types and defaults; None where the class has no ``__init__`` of its own."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            found = []
            for argument, default in zip(statement.args.kwonlyargs, statement.args.kw_defaults, strict=True):
                if argument.annotation is None or default is None:
                    raise UserError(
                        f"{path}:{statement.lineno}: {node.name}.{argument.arg} needs a type and a default; the command line is made from them"
                    )
                found.append(Hyperparameter(argument.arg, _type(ast.unparse(argument.annotation), path), ast.literal_eval(default)))
            return tuple(found)
    return None


def _type(annotation: str, path: Path) -> Any:
    names = {"float": float, "int": int, "bool": bool, "str": str, "Literal": typing.Literal, "tuple": tuple, "None": None}
    try:
        return eval(annotation, {"__builtins__": {}}, names)
    except (NameError, TypeError, SyntaxError):
        raise UserError(
            f"{path}: type {annotation!r} is not made of float, int, bool, str, Literal, tuple and None; the command line is made from it"
        ) from None


def _at_path(dotted: str) -> Entry:
    module_name, _, class_name = dotted.rpartition(".")
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, SyntaxError, *FAILURES_OF_CODE) as error:  # finding a module imports the packages above it
        raise UserError(
            f"{dotted}: module {module_name!r} cannot be found ({' '.join(str(error).split())}); is it on PYTHONPATH or in the current folder?"
        ) from None
    if spec is None or spec.origin is None:
        raise UserError(f"{dotted}: module {module_name!r} cannot be found; is it on PYTHONPATH or in the current folder?")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError, *FAILURES_OF_CODE) as error:
        raise UserError(f"{dotted}: {spec.origin} cannot be imported ({type(error).__name__}: {' '.join(str(error).split())})") from None
    cls = getattr(module, class_name, None)
    if not isinstance(cls, type):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise UserError(f"{dotted}: {spec.origin} has no class {class_name!r}{suggestion(class_name, classes)}")
    return describe(cls)


def describe(cls: type) -> Entry:
    """The entry of an imported class, from its attributes and the signature of its ``__init__``."""
    from lt_bench.strategies.contract import Strategy  # torch

    path = f"{cls.__module__}.{cls.__qualname__}"
    if not issubclass(cls, Strategy):
        raise UserError(f"{path} is not a lt_bench.strategies.contract.Strategy")
    found = []
    for parameter in inspect.signature(cls.__init__).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name not in RECIPE_FIELDS:
            annotation = _type(parameter.annotation, Path(path)) if isinstance(parameter.annotation, str) else parameter.annotation
            if annotation is inspect.Parameter.empty or parameter.default is inspect.Parameter.empty:
                raise UserError(f"{path}: {parameter.name} needs a type and a default; the command line is made from them")
            found.append(Hyperparameter(parameter.name, annotation, parameter.default))
    return Entry(
        name=cls.name or cls.__name__, class_path=path, family=cls.family, paper=cls.paper, sampler=cls.sampler, initial_head=cls.initial_head,
        trains=cls.trains, fitting=cls.fitting, recipe=cls.recipe, official=cls.official, settings=cls.settings, grid=cls.grid, inferred=cls.inferred, selected_on_val=cls.selected_on_val,
        doc=inspect.getdoc(cls) or cls.__name__, hyperparameters=tuple(found),
    )  # fmt: skip


def type_name(kind: Any) -> str:
    """A type as a person reads it: ``float``, ``a | b`` for literals."""
    if typing.get_origin(kind) is typing.Literal:
        return " | ".join(str(option) for option in typing.get_args(kind))
    return getattr(kind, "__name__", str(kind)) if not isinstance(kind, types.UnionType) else str(kind)
