"""SIGKILL in the middle of a verb; the same command again has to give what an untroubled one gives."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.faults.commands import begin, call, end
from benchmarks.faults.outcomes import Outcome, contents
from benchmarks.faults.verbs import Untroubled, Verb, furnish, read_by, untroubled


def killed(verb: Verb) -> Callable[[Path, int], Outcome]:
    """A trial: killed once or twice, before an act on files or at a moment, then done again."""

    def trial(place: Path, seed: int) -> Outcome:
        outcome, draw, right = Outcome(), random.Random(f"{verb.name} {seed}"), untroubled(verb)
        words = furnish(place, verb)
        for _ in range(draw.choice((1, 1, 2))):
            _kill(place, words, draw, right)
        after(outcome, f"{verb.name} after a kill", place, verb, words)
        return outcome

    return trial


def after(outcome: Outcome, what: str, place: Path, verb: Verb, words: tuple[str, ...]) -> None:
    """Do a verb in a folder where something happened to it, and compare with an untroubled one."""
    right = untroubled(verb)
    outcome.judge(what, call(place, *words), verb.again)
    outcome.compare(what, contents(place, verb.makes), right.made)
    outcome.compare(f"{what}, what it read", read_by(place, verb), right.read)
    outcome.no_leftovers(what, place)


def _kill(place: Path, words: tuple[str, ...], draw: random.Random, right: Untroubled) -> None:
    """Start a command and kill it: before an act on files, or at any time."""
    by_act = draw.random() < 0.6
    more = {"FAULTS_PLACE": f"{place}/", "FAULTS_AT": str(draw.randint(1, right.acts))} if by_act else {}
    number, said = begin(place, words, variables=more)
    if not by_act:
        time.sleep(draw.uniform(0.1, 1.1) * right.seconds)
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    end(number, said)
