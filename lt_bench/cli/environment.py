"""Options from the environment: ``LT_BENCH_RUN__SEEDS=0,1`` is ``run --seeds 0,1``; an unknown option is refused, as on the command line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable

from lt_bench.cli.verbs import VERBS
from lt_bench.core.errors import UserError
from lt_bench.core.names import suggestion

PREFIX = "LT_BENCH"
HOME = "LT_BENCH_HOME"
"""The one variable that is no option (``features.locate.home``)."""
ALIKE = 0.88
"""Likeness to ``HOME``, from 0 to 1, above which another name is ``HOME`` misspelt."""


def variable(verb: str, key: str) -> str:
    """The variable of an option: of ``run``, ``strategy.lr`` is ``LT_BENCH_RUN__STRATEGY__LR``."""
    return f"{PREFIX}_{verb.replace('-', '_')}__{key.replace('.', '__')}".upper()


def value(verb: str, *keys: str) -> str:
    """The value of the first of these options that is set in the environment; empty where none is."""
    return next((os.environ[name] for key in keys if (name := variable(verb, key)) in os.environ), "")


def check(verb: str, keys: Iterable[str]) -> None:
    """Refuse variables with an unknown option of this verb, an unknown verb, or a misspelt ``LT_BENCH_HOME``; those of other verbs are ignored.

    Args:
        verb: the verb that runs.
        keys: names of its options.

    Raises:
        UserError: such a variable is set; the message has a suggestion.
    """
    known = {variable(verb, key) for key in keys}
    others = tuple(variable(other, "") for other in VERBS if other != verb)
    for name in sorted(os.environ):
        if name != HOME and difflib.SequenceMatcher(None, name, HOME).ratio() > ALIKE:
            raise UserError(f"unknown environment variable {name} (did you mean {HOME!r}?)")
        ours = name.startswith((f"{variable(verb, '')[:-1]}", f"{PREFIX}__")) or (name.startswith(f"{PREFIX}_") and "__" in name)
        if ours and name not in known and not name.startswith(others):
            raise UserError(
                f"{verb}: unknown environment variable {name}{suggestion(name, known)}; `lt-bench {verb} --help` lists the options"
            )
