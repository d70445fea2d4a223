"""The command line: it names the verbs, and imports a verb's code only when that verb runs."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import sys
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lt_bench.core.errors import UserError
from lt_bench.core.version import __version__

if typing.TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from lt_bench.strategies.registry import Entry

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
PRINT_CONFIG = "--print_config"
RESUMES = "what was recorded stays, and the same command does what is missing"


@dataclass(frozen=True)
class Verb:
    """A verb: its one line of help, its options class in ``bench.options``, ``module:function`` that does it, and what is left of it after Ctrl-C."""

    summary: str
    options: str
    action: str
    interrupted: str = RESUMES


VERBS: dict[str, Verb] = {
    "list": Verb("what there is: strategies, datasets, backbones, caches", "ListOptions", "cli.listing:show_list"),
    "run": Verb("re-train a strategy, evaluate, record", "RunOptions", "bench.run:run"),
    "tune": Verb(
        "choose hyper-parameters on unseen validation images",
        "TuneOptions",
        "bench.tuning.tune:tune_from_shell",
        "a tuning keeps nothing before its end",
    ),
    "bench": Verb("run a suite of strategies, caches and seeds; resumable", "BenchOptions", "bench.suite.run:bench_from_shell"),
    "leaderboard": Verb("records to tables", "LeaderboardOptions", "cli.leaderboard:leaderboard"),
    "wandb": Verb("push: records to W&B; dashboard: a workspace and a report", "WandbOptions", "cli.wandb:wandb_verb"),
    "import-features": Verb("embeddings from anywhere to a feature cache", "ImportOptions", "features.import_arrays:import_features"),
    "data": Verb(
        "data check NAME: what is there of a data set, what is missing and where to get it", "DataOptions", "data.check:data_verb"
    ),
    "extract": Verb("images to a feature cache", "ExtractOptions", "bench.from_images:extract_verb"),
    "pretrain": Verb("stage 1: train a backbone on the long-tailed images", "PretrainOptions", "bench.from_images:pretrain_verb"),
    "export": Verb("backbone and re-trained head of a record as one classifier", "ExportOptions", "deploy.export:export"),
    "predict": Verb("an exported classifier on a folder of images", "PredictOptions", "deploy.predict:predict"),
    "verify": Verb("run a record again and compare", "VerifyOptions", "bench.verify:verify"),
    "check": Verb("the contract suite on a strategy of yours", "CheckOptions", "bench.contract.check:check"),
}


def main(arguments: list[str] | None = None) -> int:
    """Entry point of ``lt-bench``; returns the exit code: 0, 2 for what the user can mend, 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sys.path.insert(0, str(Path.cwd()))  # a strategy of the user's own is found in the current folder, as with python -m
    try:
        return _dispatch(arguments)
    except UserError as error:
        print(f"lt-bench: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        left = VERBS[arguments[0]].interrupted if arguments and arguments[0] in VERBS else RESUMES
        print(f"lt-bench: interrupted; {left}", file=sys.stderr)  # noqa: T201
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; nothing to say
        return 0
    except OSError as error:  # a full disk, a place that cannot be read or written
        said = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        print(f"lt-bench: {said}", file=sys.stderr)  # noqa: T201
        return EXIT_USER_ERROR


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())  # noqa: T201
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"lt-bench {__version__}")  # noqa: T201
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in VERBS:
        from lt_bench.strategies.registry import suggestion

        raise UserError(f"unknown verb {name!r}{suggestion(name, VERBS)}; `lt-bench --help` lists them")
    options = parse(name, rest)
    if options is None:
        return 0
    from lt_bench.cli.preflight import check

    check(options)
    module, _, function = VERBS[name].action.partition(":")
    getattr(importlib.import_module(f"lt_bench.{module}"), function)(options)
    return 0


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: lt-bench VERB [options]",
            "",
            "Classifier re-training for long-tailed recognition, compared on the same frozen features.",
            "",
            *lines,
            "",
            "`lt-bench VERB --help` shows a verb's options. Every option can stand in a YAML file (--config FILE), in the environment",
            "(LT_BENCH_RUN__SEEDS=0,1 for `run --seeds 0,1`) or on the command line; the later wins. --print_config prints what was said.",
        ]
    )


def parse(name: str, arguments: list[str]) -> Any:
    """The options object of a verb from YAML, environment and flags; None after ``--help`` or ``--print_config``.

    Raises:
        UserError: an option that the verb does not have (with a suggestion), or a value that does not fit.
    """
    from jsonargparse import ArgumentError

    cls = getattr(importlib.import_module("lt_bench.bench.options"), VERBS[name].options)
    prefix = f"LT_BENCH_{name.replace('-', '_').upper()}_"
    arguments, config_path = _take_config(_normalised(arguments))
    config = _read_config(config_path, f"{prefix}_CONFIG")
    entry = _strategy_entry(cls, arguments, config, prefix)
    lists = _list_options(cls, entry)
    _wrap_lists_in_environment(prefix, lists)
    flags = [argument for argument in _with_lists(arguments, lists) if argument != PRINT_CONFIG]
    flat = {key: _as_list(value) if key in lists and isinstance(value, str) else value for key, value in _flat(config).items()}
    parser = _parser(name, cls, prefix, entry, _first_value(arguments, config, "dataset"))
    try:
        parser.set_defaults(parser.parse_object(flat, defaults=False, env=False).as_flat().__dict__)
        parsed = parser.parse_args(flags)
        said = {*flat, *parser.parse_args(flags, defaults=False).keys()}
    except ArgumentError as error:
        raise UserError(_one_line(str(error), parser, name)) from None
    except SystemExit:
        return None
    if entry is not None:
        parsed["strategy.name"] = entry.public_name
    for key in [key for key in parsed.keys() if key.startswith("strategy.") and key not in (*said, "strategy.name")]:  # noqa: SIM118
        parsed.pop(key)  # its value is the strategy's for the data set of the cache, which is not known yet
    if PRINT_CONFIG in arguments:
        print(parser.dump(parsed), end="")  # noqa: T201
        return None
    return _options(cls, parsed.as_dict(), entry)


def _parser(name: str, cls: type, prefix: str, entry: Entry | None, dataset: str) -> ArgumentParser:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog=f"lt-bench {name}",
        description=VERBS[name].summary,
        exit_on_error=False,
        default_env=True,
        env_prefix=prefix,
        allow_abbrev=False,
    )
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.name == "strategy" and "help" not in field.metadata:
            _add_strategy(parser, entry, dataset)
            continue
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        text = field.metadata["help"]
        if field.metadata["positional"]:
            parser.add_argument(field.name, nargs="?", type=hints[field.name], default=default, help=text)
        elif hints[field.name] is bool:
            parser.add_argument(f"--{field.name}", nargs="?", const=True, type=bool, default=default, help=text)
        else:
            parser.add_argument(f"--{field.name}", type=hints[field.name], default=default, help=text)
    return parser


def _add_strategy(parser: ArgumentParser, entry: Entry | None, dataset: str) -> None:
    """``--strategy NAME`` and, once it is known, ``--strategy.OPTION`` for each of its hyper-parameters."""
    text = (
        "strategy, see `lt-bench list strategies`, or package.module.Class of your own; with it, --help shows its own options; "
        "`run` takes several, a,b,c, with their own hyper-parameters"
    )
    parser.add_argument("--strategy.name", type=str, default="" if entry is None else entry.public_name, help=text)
    if entry is None:
        return
    kinds = entry.types()
    for key, value in entry.resolve(dataset).items():
        parser.add_argument(f"--strategy.{key}", type=kinds[key], default=value, help=f"of {entry.name}")


def _strategy_entry(cls: type, arguments: list[str], config: dict[str, Any], prefix: str) -> Entry | None:
    """The strategy that flags, environment or YAML name; its options become the parser's. None where there is none, or several.

    Raises:
        UserError: no such strategy; several where one is wanted, or with hyper-parameters.
    """
    choice = next((field for field in dataclasses.fields(cls) if field.name == "strategy" and "help" not in field.metadata), None)
    if choice is None:
        return None
    name = (
        _first_value(arguments, {}, "strategy.name") or os.environ.get(f"{prefix}_STRATEGY") or os.environ.get(f"{prefix}_STRATEGY__NAME")
    )
    name = name or str(config.get("strategy", {}).get("name", ""))
    if not name:
        return None
    from lt_bench.strategies.registry import find

    if "," not in name or "several" not in choice.metadata:
        return find(name)
    for one in name.split(","):
        find(one)
    given = [argument.partition("=")[0] for argument in arguments if argument.startswith("--strategy.")]
    given = [option for option in (*given, *(f"--strategy.{key}" for key in config.get("strategy", {}))) if option != "--strategy.name"]
    if given:
        raise UserError(f"{given[0]}: several strategies run with their own hyper-parameters; name one strategy to set them")
    return None


def _first_value(arguments: list[str], config: dict[str, Any], key: str) -> str:
    for position, argument in enumerate(arguments):
        if argument == f"--{key}" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"--{key}="):
            return argument.partition("=")[2]
    return str(config.get(key) or "")


def _normalised(arguments: list[str]) -> list[str]:
    """``-`` as ``_`` in option names, and ``--strategy X`` as ``--strategy.name X``."""
    found: list[str] = []
    for argument in arguments:
        if argument.startswith("--"):
            option, equals, value = argument.partition("=")
            option = "--" + option[2:].replace("-", "_")
            found.append(("--strategy.name" if option == "--strategy" else option) + equals + value)
        else:
            found.append(argument)
    return found


def _list_options(cls: type, entry: Entry | None) -> set[str]:
    """Names of the options that take several values, written ``0,1,2``."""
    hints = typing.get_type_hints(cls)
    found = {field.name for field in dataclasses.fields(cls) if typing.get_origin(hints[field.name]) is list}
    if entry is not None:
        found |= {f"strategy.{key}" for key, kind in entry.types().items() if typing.get_origin(kind) is tuple}
    return found


def _with_lists(arguments: list[str], lists: set[str]) -> list[str]:
    """``0,1,2`` as ``[0,1,2]`` for options that are lists."""
    found: list[str] = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if found and found[-1].removeprefix("--") in lists and not argument.startswith("--"):
            found.append(_as_list(argument))
        elif equals and option.removeprefix("--") in lists:
            found.append(option + equals + _as_list(value))
        else:
            found.append(argument)
    return found


def _as_list(value: str) -> str:
    return value if value.startswith("[") else f"[{value}]"


def _wrap_lists_in_environment(prefix: str, lists: set[str]) -> None:
    for name in lists:
        key = f"{prefix}_{name.replace('.', '__').upper()}"
        if key in os.environ:
            os.environ[key] = _as_list(os.environ[key])


def _take_config(arguments: list[str]) -> tuple[list[str], str]:
    """The arguments without ``--config FILE``, and FILE: YAML comes first, whatever its place on the line."""
    rest, path = [], ""
    waiting = False
    for argument in arguments:
        if waiting:
            path, waiting = argument, False
        elif argument == "--config":
            waiting = True
        elif argument.startswith("--config="):
            path = argument.partition("=")[2]
        else:
            rest.append(argument)
    if waiting:
        raise UserError("--config needs a YAML file")
    return rest, path


def _read_config(path: str, variable: str) -> dict[str, Any]:
    path = path or os.environ.get(variable, "")
    if not path:
        return {}
    import yaml

    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected options and values, found a {type(document).__name__}")
    config = {str(key).replace("-", "_"): value for key, value in document.items() if value is not None}
    if "strategy" in config:
        strategy = config["strategy"]
        if not isinstance(strategy, dict):
            strategy = {"name": str(strategy)}
        config["strategy"] = {str(key).replace("-", "_"): value for key, value in strategy.items() if value is not None}
    if config.get("wandb") is False:
        config["wandb"] = "off"  # YAML reads off as false
    return config


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    strategy = {f"strategy.{key}": value for key, value in config.get("strategy", {}).items()}
    return {key: value for key, value in config.items() if key != "strategy"} | strategy


def _options(cls: type, parsed: dict[str, Any], entry: Entry | None) -> Any:
    """The options object, with the strategy and those of its hyper-parameters that were said."""
    if isinstance(parsed.get("strategy"), dict):
        from lt_bench.bench.options import StrategyChoice

        given = parsed["strategy"]
        if not given["name"]:
            raise UserError("--strategy is missing; `lt-bench list strategies` shows them")
        parsed["strategy"] = StrategyChoice(given.pop("name"), given)
    return cls(**parsed)


def _one_line(message: str, parser: ArgumentParser, verb: str) -> str:
    """jsonargparse's message as one line in our words, with a suggestion for an unknown option."""
    from lt_bench.strategies.registry import suggestion

    known = [
        option for action in parser._actions for option in action.option_strings if option.startswith("--") and not option.endswith("+")
    ]
    unknown = re.search(r"unrecognized arguments: (\S+)|Option '([^']+)' is not accepted", message, re.IGNORECASE)
    if unknown:
        option = unknown.group(1) or f"--{unknown.group(2)}"
        if not option.startswith("-"):
            return f"{verb}: {option!r} belongs to no option; `lt-bench {verb} --help` lists them"
        return f"{verb}: unknown option {option.partition('=')[0]}{suggestion(option.partition('=')[0], known)}; `lt-bench {verb} --help` lists them"
    value = re.search(r'Parser key "([^"]+)":\s*(.*)', message, re.DOTALL)
    if value:
        text = " ".join(value.group(2).replace("<class '", "").replace("'>", "").replace("typing.", "").split())
        return f"{verb}: --{value.group(1)}: {_plain(text[0].lower() + text[1:])}"
    return f"{verb}: {' '.join(message.split())}"


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "Path": "a path", "str": "text"}


def _plain(text: str) -> str:
    """jsonargparse's names of types in words: ``expected a int. Got value: x`` as ``expected a whole number, got x``."""
    union = re.fullmatch(
        r"does not validate against any of the Union subtypes Subtypes: \[(.*), NoneType\] Errors: .* Given value: (.*)", text
    )
    if union:
        text = f"expected a {union.group(1)}. Got value: {union.group(2)}"
    text = re.sub(r"Literal\[([^]]*)\]", lambda found: "one of " + found.group(1).replace("'", ""), text)
    text = re.sub(r"expected an? (one of )", r"expected \1", text)
    text = re.sub(
        r"expected an? (\w+)\b", lambda found: f"expected {_KINDS[found.group(1)]}" if found.group(1) in _KINDS else found.group(), text
    )
    return text.replace(". Got value: ", ", got ")
