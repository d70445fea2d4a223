"""Parsing of a command: from its words to the options object of its verb."""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lt_bench.cli import configs, environment
from lt_bench.cli.given import Given
from lt_bench.cli.messages import one_line
from lt_bench.cli.repeated import refuse_repeated
from lt_bench.cli.values import as_kind
from lt_bench.cli.verbs import VERBS
from lt_bench.core.errors import UserError

if TYPE_CHECKING:
    from lt_bench.strategies.entry import Entry

COMMON = ("config", "json", "quiet", "verbose", "traceback")


@dataclass(frozen=True)
class Request:
    """A parsed command.

    Attributes:
        verb: its name.
        options: an object of the verb's options class.
        sources: the YAML files that were read.
        json, quiet, verbose: how it is said.
    """

    verb: str
    options: Any
    sources: tuple[str, ...] = ()
    json: bool = False
    quiet: bool = False
    verbose: bool = False


def parse(verb: str, words: Sequence[str]) -> Any:
    """The options object of a command; None where help or configuration was printed in its place. Raises as ``read_request``."""
    request = read_request(verb, words)
    return None if request is None else request.options


def read_request(verb: str, words: Sequence[str]) -> Request | None:
    """The request that the words after a verb, YAML files and environment make; None after ``--help`` or ``--print_config``, which print.

    Raises:
        UserError: an option that the verb does not have (with a suggestion), or a value that does not fit.
    """
    from jsonargparse import ArgumentError

    from lt_bench.cli.parser import keys_of, root_parser, verb_parser

    files, flags = _config_files([_normalised(word) for word in words])
    cls, sources = VERBS[verb].options_class(), files or [path for path in [environment.value(verb, "config")] if path]
    refuse_repeated(verb, flags, typing.get_type_hints(cls), getattr(cls, "several", False))
    documents = [configs.read(path) for path in sources]
    given = Given(verb, flags, dict(zip(sources, documents, strict=True)))
    with given.naming("--strategy.name"):
        entry, named = _strategy(verb, cls, flags, documents)
    dataset = _flag(flags, "--dataset") or next((str(one["dataset"]) for one in reversed(documents) if "dataset" in one), "")
    parser = verb_parser(verb, entry, dataset, words)
    environment.check(verb, [*keys_of(parser), *(["strategy"] if _takes_strategy(cls) else [])])
    line = [verb, *(f"--config={path}" for path in files), *flags, *([f"--strategy.name={named}"] if named else [])]
    try:
        parsed = root_parser({verb: parser}).parse_args(line)[verb].as_dict()
    except ArgumentError as error:
        options = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
        known = [option.replace("--strategy.name", "--strategy") for option in options]
        raise UserError(given.named(one_line(str(error), verb, known, getattr(cls, "refused", {})))) from None
    except SystemExit:
        return None
    common = {name: parsed.pop(name) for name in COMMON if name in parsed}
    return Request(
        verb, _options(cls, parsed, entry, given), tuple(sources), **{name: bool(common.get(name)) for name in ("json", "quiet", "verbose")}
    )


def _normalised(word: str) -> str:
    """``--wandb_project`` as ``--wandb-project``, ``--strategy.gamma-max`` as ``--strategy.gamma_max``, ``--strategy`` as ``--strategy.name``, ``--recipe.epochs`` as ``--epochs``."""
    if not word.startswith("--"):
        return word
    option, equals, value = word.partition("=")
    name = option[2:].replace("-", "_") if option.startswith(("--strategy.", "--recipe.")) else option[2:].replace("_", "-")
    name = {"strategy": "strategy.name", "print-config": "print_config", "recipe.epochs": "epochs"}.get(name, name)
    return f"--{name}{equals}{value}"


def _config_files(words: list[str]) -> tuple[list[str], list[str]]:
    """The files of ``--config``, in order, and the other words: files come first, whatever their place on the line."""
    files, others = [], []
    for place, word in enumerate(words):
        if word == "--config" and place + 1 == len(words):
            raise UserError("--config needs a YAML file")
        if place and words[place - 1] == "--config":
            files.append(word)
        elif word.startswith("--config="):
            files.append(word.partition("=")[2])
        elif word != "--config":
            others.append(word)
    return files, others


def _flag(words: list[str], option: str) -> str:
    """The value of an option on the line, the last of several; empty where it is not given."""
    values = [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
    values += [after for word, after in itertools.pairwise(words) if word == option]
    return values[-1] if values else ""


def _takes_strategy(cls: type) -> bool:
    return any(field.name == "strategy" and field.default_factory is not dataclasses.MISSING for field in dataclasses.fields(cls))


def _strategy(verb: str, cls: type, flags: list[str], documents: list[dict[str, Any]]) -> tuple[Entry | None, str]:
    """The entry and the name of the strategy that flags, YAML or environment give; the hyper-parameters of the entry become options. The entry is None for several strategies, and the name empty for none.

    Raises:
        UserError: there is no such strategy; several are given to a verb that takes one, or together with hyper-parameters.
    """
    if not _takes_strategy(cls):
        return None, ""
    named = [str(one["strategy"]["name"]) for one in documents if "name" in one.get("strategy", {})]
    name = _flag(flags, "--strategy.name") or (named[-1] if named else environment.value(verb, "strategy", "strategy.name"))
    if not name:
        return None, ""
    from lt_bench.strategies.registry import find

    if "," not in name:
        entry = find(name)
        return entry, entry.public_name
    if not getattr(cls, "several", False):
        first = name.partition(",")[0]
        raise UserError(f"{verb}: --strategy {name} names several; {verb} takes one at a time, e.g. `lt-bench {verb} --strategy {first}`")
    for one in name.split(","):
        find(one)
    given = [word.partition("=")[0] for word in flags if word.startswith("--strategy.")]
    given += [f"--strategy.{key}" for one in documents for key in one.get("strategy", {})]
    given = [option for option in given if option != "--strategy.name"]
    if given:
        raise UserError(f"{given[0]}: several strategies run with their own hyper-parameters; name one strategy to set them")
    return None, name


def _options(cls: type, parsed: dict[str, Any], entry: Entry | None, sources: Given) -> Any:
    """The options object, with the strategy and those of its hyper-parameters that were given."""
    hints = typing.get_type_hints(cls)
    if _takes_strategy(cls):
        given = parsed["strategy"]
        name = given.pop("name")
        if not name and not getattr(cls, "without_strategy", False):
            raise UserError("--strategy is missing; `lt-bench list strategies` shows them")
        kinds = {} if entry is None else entry.types()
        given = {key: as_kind(value, kinds[key]) for key, value in given.items()}
        if entry is not None:
            with sources.naming(*(f"--strategy.{key}" for key in given)):
                _check_values(entry, given)
        parsed["strategy"] = hints["strategy"](name, given)
    return cls(**{key: as_kind(value, hints[key]) for key, value in parsed.items()})


def _check_values(entry: Entry, given: dict[str, Any]) -> None:
    """Refuse values outside their ranges, and texts of slots that name no entry, before torch is imported.

    Raises:
        UserError: names the hyper-parameter, its value and what was expected.
    """
    entry.resolve("", None, given)
    for hyperparameter in entry.hyperparameters:
        if hyperparameter.name in given:
            hyperparameter.check(entry.name, given[hyperparameter.name])
    recipe = {field.name for field in dataclasses.fields(entry.recipe)} - {one.name for one in entry.hyperparameters}
    entry.recipe.changed({key: value for key, value in given.items() if key in recipe})
