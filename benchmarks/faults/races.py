"""Two processes that do the same in one folder at once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.commands import begin, end
from benchmarks.faults.outcomes import Outcome, contents
from benchmarks.faults.verbs import Verb, furnish, read_by, untroubled


def race(verb: Verb) -> Callable[[Path, int], Outcome]:
    """A trial: both end with 0, or one with 2 and a line; what is there afterwards is what one alone leaves."""

    def trial(place: Path, seed: int) -> Outcome:
        outcome, draw, right = Outcome(), random.Random(f"{verb.name} {seed}"), untroubled(verb)
        words, begun = furnish(place, verb), []
        for _ in range(2):
            begun.append(begin(place, words))
            time.sleep(draw.choice((0.0, 0.0, draw.uniform(0, right.seconds / 2))))
        ended = [end(*one) for one in begun]
        for done in ended:
            outcome.judge(f"{verb.name}, two at once", done)
        if all(done.returncode for done in ended):
            outcome.lost.append(f"{verb.name}: neither of two at once did it")
        outcome.compare(f"{verb.name}, two at once", contents(place, verb.makes), right.made)
        outcome.compare(f"{verb.name}, what they read", read_by(place, verb), right.read)
        outcome.no_leftovers(f"{verb.name}, two at once", place)
        return outcome

    return trial
