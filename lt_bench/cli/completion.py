"""``lt-bench completion bash|zsh``: a script that completes verbs, options and registered names; it is generated from the parsers, so completing starts no Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lt_bench.cli.output import Output
from lt_bench.cli.parser import root_parser, verb_parser
from lt_bench.cli.verbs import VERBS
from lt_bench.core.errors import UserError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from lt_bench.bench.options import CompletionOptions

PLACES = {"bash": "~/.local/share/bash-completion/completions/lt-bench", "zsh": '"${fpath[1]}/_lt-bench"'}


def show(options: CompletionOptions, output: Output) -> None:
    """Print the script of a shell.

    Raises:
        UserError: no such shell.
    """
    if options.shell not in PLACES:
        how = ", or ".join(f"lt-bench completion {shell} > {place}" for shell, place in PLACES.items())
        raise UserError(f"completion {options.shell or 'needs a shell'}: one of {', '.join(PLACES)}: {how}")
    output.stream.write(script(options.shell) + "\n")


def script(shell: str) -> str:
    """The completions of every verb, for ``bash`` or ``zsh``."""
    parsers = {name: verb_parser(name, None, "", ["--help-all"]) for name in VERBS}
    for name, parser in parsers.items():
        _add_names(name, parser)
    return root_parser(parsers).get_completion_script(f"shtab-{shell}")


def _add_names(verb: str, parser: ArgumentParser) -> None:
    """Add the names that options take, and the hyper-parameters of all strategies, since the strategy is not known while the line is typed."""
    from lt_bench.backbones.registry import backbone_names
    from lt_bench.cli.listing import KINDS
    from lt_bench.data.specs import dataset_names
    from lt_bench.features.locate import shipped
    from lt_bench.strategies.registry import find, strategy_names
    from lt_bench.strategies.slots.vocabulary import TITLES

    names: dict[str, tuple[str, ...]] = {
        "strategy.name": (*strategy_names(), "compose"), "dataset": dataset_names(), "backbone": backbone_names(), "what": tuple(KINDS), "shell": tuple(PLACES),
        "suite": tuple(sorted(path.stem for path in shipped("suites").glob("*.yaml"))),
        "strategy": strategy_names(), "action": ("check",) if verb == "data" else ("push", "dashboard"),
    }  # fmt: skip
    names["name"] = (*strategy_names(), *TITLES, *dataset_names(), *backbone_names()) if verb == "list" else ()
    for action in parser._actions:
        if action.dest in names:
            action.choices = names[action.dest] or None
            action.option_strings = [option.replace("--strategy.name", "--strategy") for option in action.option_strings]
    if any(action.dest == "strategy.name" for action in parser._actions):
        for key in sorted({key for name in names["strategy.name"] for key in find(name).types()}):
            parser.add_argument(f"--strategy.{key}", help="hyper-parameter")
