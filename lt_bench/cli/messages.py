"""jsonargparse's messages as one line in the words of the suite, with a suggestion for a name that is no option."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lt_bench.core.names import suggestion

_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "Path": "a path", "str": "text"}
_UNKNOWN = re.compile(r"unrecognized arguments: (?P<word>\S+)|option '(?P<key>[^']+)'(?: is not accepted)?", re.IGNORECASE)
_NESTED = re.compile(r"^.*Parser key \"(?:[^\".]+\.)?([^\".]+)\":.*NestedArg\(key='([^']+)'.*$", re.DOTALL)  # --seed.more 1


def one_line(message: str, verb: str, options: Iterable[str], refused: Mapping[str, str]) -> str:
    """The message of an ``ArgumentError`` in one line. ``options`` are the verb's options (``--seeds``); ``refused`` gives the reason why it lacks others."""
    message = _NESTED.sub(r"unrecognized arguments: --\1.\2", message)
    unknown = _UNKNOWN.search(message)
    if unknown:
        option = (
            unknown["word"]
            or f"--{unknown['key'].removeprefix(f'{verb}.').replace('strategy.name', 'strategy').replace('recipe_fields.', 'recipe.')}"
        )
        option, hint = option.partition("=")[0], f"`lt-bench {verb} --help` lists them"
        if not option.startswith("-"):
            return f"{verb}: {option!r} belongs to no option; {hint}"
        why = f", since {refused[option]}" if option in refused else suggestion(option, (one for one in options if one != "--help"))
        return f"{verb}: unknown option {option}{why}; {hint}"
    value = re.search(r'Parser key "([^"]+)":\s*(.*)', message, re.DOTALL)
    if value:
        key = value[1].removeprefix(f"{verb}.").replace("strategy.name", "strategy").replace("recipe_fields.", "recipe.")
        key = key if key.startswith(("strategy.", "recipe.")) else key.replace("_", "-")
        text = " ".join(value[2].replace("<class '", "").replace("'>", "").replace("typing.", "").split())
        return f"{verb}: --{key}: {_plain(text[0].lower() + text[1:])}"
    return f"{verb}: {' '.join(message.split())}"


def _plain(text: str) -> str:
    """Replace jsonargparse's names of types by words: ``expected a int. Got value: x`` as ``expected a whole number, got x``."""
    union = re.fullmatch(
        r"does not validate against any of the Union subtypes Subtypes: \[(.*), NoneType\] Errors: .* Given value: (.*)", text
    )
    if union:
        text = f"expected a {union[1]}. Got value: {union[2]}".replace(", Literal", " or Literal")
    text = re.sub(r"^not of type \w+: ", "", text)
    text = re.sub(r"Literal\[([^]]*)\]", lambda literal: ("one of " if "," in literal[1] else "") + literal[1].replace("'", ""), text)
    text = re.sub(r"expected an? (one of )", r"expected \1", text)
    text = re.sub(r"expected an? (\w+)\b", lambda kind: f"expected {_KINDS.get(kind[1]) or kind[0].removeprefix('expected ')}", text)
    return text.replace(". Got value: ", ", got ")
