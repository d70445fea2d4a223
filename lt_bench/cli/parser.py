"""The parsers: one for ``lt-bench``, and a subcommand for each verb, made of the fields and docstrings of its options class."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from lt_bench.cli import environment
from lt_bench.cli.configs import MODE
from lt_bench.cli.docstrings import explained, explained_by
from lt_bench.cli.formatter import HelpFormatter
from lt_bench.cli.groups import GROUPS, group_of
from lt_bench.cli.values import metavar, parsed_as, shown
from lt_bench.cli.verbs import VERBS, Verb
from lt_bench.core.version import __version__
from lt_bench.strategies.recipe import Recipe

if TYPE_CHECKING:
    from lt_bench.strategies.entry import Entry

HYPERPARAMETERS = "hyper-parameters"
ABOUT = "Classifier re-training for long-tailed recognition, compared on the same frozen features."
SOURCES = "Every option can stand in the environment ({example}), in a YAML file (--config FILE) or on the line; the later of these wins."


def root_parser(parsers: dict[str, ArgumentParser]) -> ArgumentParser:
    """The parser of ``lt-bench`` with every verb; those that have no parser here get an empty one, which is enough to list them."""
    example = SOURCES.format(example="LT_BENCH_RUN__SEEDS=0,1 for `run --seeds 0,1`")
    root = _new("lt-bench", ABOUT, f"`lt-bench VERB --help` shows a verb's options. {example} --print_config prints them as YAML.")
    root.usage = "lt-bench VERB [options]"
    root.add_argument("-V", "--version", action="version", version=f"lt-bench {__version__}", help="print the version and stop")
    verbs = root.add_subcommands(dest="verb", required=False, title="verbs", metavar="VERB")
    for name, verb in VERBS.items():
        parser = verbs.add_subcommand(name, parsers.get(name) or ArgumentParser(exit_on_error=False), help=verb.summary)
        parser.prog = f"lt-bench {name}"
    return root


def verb_parser(name: str, entry: Entry | None, dataset: str, words: Iterable[str]) -> ArgumentParser:
    """The parser of a verb.

    Args:
        name: of the verb.
        entry: the strategy whose hyper-parameters are options; None where none is named, or several are.
        dataset: whose settings of the strategy are shown as defaults.
        words: of the command line; they decide which groups its help shows.
    """
    verb, given, cls = VERBS[name], {_key(word) for word in words}, VERBS[name].options_class()
    parser = _new(f"lt-bench {name}", verb.summary, "")
    positional: tuple[str, ...] = getattr(cls, "positional", ())
    parser.usage = f"lt-bench {name} {' '.join(f'[{one.upper()}]' for one in positional)}{' ' if positional else ''}[options]"
    hidden = [group for group in GROUPS if "help" in given and group.hidden(name, given)]
    groups = _titled(parser, entry)
    hints, texts = typing.get_type_hints(cls), explained_by(cls)
    in_order = sorted(dataclasses.fields(cls), key=lambda field: (*positional, field.name).index(field.name))
    for field in in_order:
        group = group_of(field.name, name)
        target = parser if field.name in positional else groups.get(group.title, parser)
        if field.name == "strategy" and field.name not in positional:
            _add_strategy(target, groups[HYPERPARAMETERS], entry, dataset, texts["strategy"])
        elif field.name == "recipe_fields":
            _add_recipe_fields(groups[group_of("recipe", name).title])
        else:
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            text = argparse.SUPPRESS if group in hidden else texts[field.name]
            _add(target, field.name, hints[field.name], default, text, positional=field.name in positional)
    _add_common(parser, verb, help_all=any(name in group.verbs for group in GROUPS))
    options = [field.name for field in in_order if field.name not in positional]
    shown_option = next((one for one in ("results", "out") if one in options), options[0] if options else "quiet")
    example = f"{environment.variable(name, shown_option)}={'PATH' if shown_option in ('results', 'out') else 'VALUE'}"
    parser.epilog = " ".join([*_left_out(name, hidden), SOURCES.format(example=example)])
    return parser


def keys_of(parser: ArgumentParser) -> list[str]:
    """The options of a parser by the names that a YAML file has for them."""
    return [action.dest for action in parser._actions if action.dest not in ("help", argparse.SUPPRESS)]


def _new(prog: str, description: str, epilog: str) -> ArgumentParser:
    return ArgumentParser(
        prog=prog, description=description, epilog=epilog, exit_on_error=False, allow_abbrev=False, default_env=True,
        env_prefix=environment.PREFIX, parser_mode=MODE, formatter_class=HelpFormatter,
    )  # fmt: skip


def _key(word: str) -> str:
    return "help" if word == "-h" else word.partition("=")[0].removeprefix("--").replace("-", "_") if word.startswith("--") else ""


def _add(
    target: Any,
    name: str,
    kind: Any,
    default: Any,
    text: str,
    *,
    positional: bool = False,
    shows: Any = dataclasses.MISSING,
    within: str = "",
) -> None:
    """Add an option; ``shows`` is the default in its help where it differs from the parser's, ``within`` the range in words."""
    parsed = parsed_as(kind)
    told = shown(default if shows is dataclasses.MISSING else shows)
    notes = "; ".join(filter(None, (within, told and f"default: {told}")))
    if text is not argparse.SUPPRESS and notes and "(default" not in text:
        text = f"{text} ({notes})"
    if default is not argparse.SUPPRESS and parsed is not kind:
        default = parsed(default)
    if positional:
        # Without a default here, as argparse would write it over what a YAML file says.
        several = typing.get_origin(kind) is list
        kind_of_one = typing.get_args(kind)[0] if several else parsed
        target.add_argument(
            name, nargs="*" if several else "?", type=kind_of_one, default=argparse.SUPPRESS, help=text, metavar=name.upper()
        )
    elif kind is bool or kind == bool | None:
        target.add_argument(f"--{_dashed(name)}", nargs="?", const=True, type=kind, default=default, help=text)
    else:
        named = metavar(parsed)
        target.add_argument(f"--{_dashed(name)}", type=parsed, default=default, help=text, **({} if named is None else {"metavar": named}))


def _dashed(name: str) -> str:
    """The spelling of an option on the line: with dashes, except in names of hyper-parameters, which are Python's."""
    return name if "." in name else name.replace("_", "-")


def _titled(parser: ArgumentParser, entry: Entry | None) -> dict[str, Any]:
    """The groups of a parser by title, in the order of the help, which leaves out empty groups."""
    groups: dict[str, Any] = {}
    for group in GROUPS:
        groups[group.title] = parser.add_argument_group(group.title)
        if group.title == "strategy":
            about = ("", None) if entry is None else (f" of {entry.name}", " ".join(entry.summary.split()))
            groups[HYPERPARAMETERS] = parser.add_argument_group(HYPERPARAMETERS + about[0], about[1])
    return groups


def _add_strategy(target: Any, group: Any, entry: Entry | None, dataset: str, text: str) -> None:
    """Add ``--strategy NAME`` and, for a known strategy, ``--strategy.OPTION`` for each hyper-parameter; options not given are absent from the result."""
    name, text = "" if entry is None else entry.public_name, f"{text}; then --help explains its hyper-parameters"
    target.add_argument("--strategy.name", type=str, default=name, help=text, metavar="NAME")
    if entry is None:
        return
    own = {one.name: one.help for one in entry.hyperparameters if one.help}
    ranges = {one.name: one.range_text for one in entry.hyperparameters}
    texts, kinds = explained(Recipe.__doc__) | explained(entry.doc) | own, entry.types()
    for key, value in entry.options(dataset).items():
        _add(
            group,
            f"strategy.{key}",
            kinds[key],
            argparse.SUPPRESS,
            texts.get(key, "").replace("``", "").rstrip("."),
            shows=value,
            within=ranges.get(key, ""),
        )


def _add_recipe_fields(group: Any) -> None:
    """Add ``--recipe.FIELD`` for each number of a stage-1 recipe; options not given are absent from the result."""
    from lt_bench.engine.pretrain.recipes import FIELDS, Stage1Recipe

    texts = explained(Recipe.__doc__) | explained(Stage1Recipe.__doc__) | {"decay": "factor of the rate at each milestone"}
    for key, kind in FIELDS.items():
        text = f"{texts[key].replace('``', '').rstrip('.')} (default: the recipe's)"
        group.add_argument(
            f"--recipe.{key}", dest=f"recipe_fields.{key}", type=kind, default=argparse.SUPPRESS, help=text, metavar=metavar(kind)
        )


def _add_common(parser: ArgumentParser, verb: Verb, *, help_all: bool) -> None:
    """Add the options that every verb has; options not given are absent from the result."""
    parser.add_argument("--config", action="config", help="YAML file of options; of several, the later wins", metavar="FILE")
    next(one for one in parser._actions if "--print_config" in one.option_strings).help = "print the options as YAML and stop"
    group = parser.add_argument_group("messages")
    if verb.json:
        _switch(group, "--json", "print the outcome as JSON and nothing else")
    _switch(group, "-q", "--quiet", "print errors only")
    _switch(group, "-v", "--verbose", "say what is in force, from where, and the time")
    _switch(group, "--traceback", "of an error, in place of one line")
    if help_all:
        parser.add_argument("--help-all", action="help", help="show the groups that are left out here too")


def _switch(group: Any, *names_and_help: str) -> None:
    *names, text = names_and_help
    group.add_argument(*names, action="store_true", default=argparse.SUPPRESS, help=text)


def _left_out(name: str, hidden: Iterable[Any]) -> list[str]:
    if not hidden:
        return []
    groups = "; ".join(f"{group.title} ({', '.join('--' + _dashed(one) for one in group.names)})" for group in hidden)
    shown_with = sorted({f"--{_dashed(one)}" for group in hidden for one in group.shown_with})
    return [f"Not shown, for images alone: {groups}. `lt-bench {name} --help-all` has them, as has --help beside {', '.join(shown_with)}."]
