"""The campaign: every kind of fault, and how often it is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.damage import FILES, flipped, hostile, hostile_images, imports
from benchmarks.faults.disks import READ_ONLY, full_disk, odd_place, read_only
from benchmarks.faults.edits import EDITS, edited
from benchmarks.faults.kills import after, killed
from benchmarks.faults.outcomes import Outcome
from benchmarks.faults.races import race
from benchmarks.faults.verbs import VERBS, Verb, furnish


@dataclass(frozen=True)
class Kind:
    """A kind of fault: its row in the table, a trial in a folder from a seed, and how many there are."""

    name: str
    trial: Callable[[Path, int], Outcome]
    times: int


def nothing(verb: Verb) -> Callable[[Path, int], Outcome]:
    """A trial without a fault: what is compared after a fault repeats by itself."""

    def trial(place: Path, seed: int) -> Outcome:
        outcome = Outcome()
        after(outcome, f"{verb.name}, untroubled", place, verb, furnish(place, verb))
        return outcome

    return trial


def times(verb: Verb, many: int) -> int:
    """Number of trials of a fault of a verb: workers of a suite import everything anew, which costs ten times what other verbs cost."""
    return (many + 1) // 2 if verb.name == "bench, two workers" else many


CAMPAIGN: tuple[Kind, ...] = (
    *(Kind(f"nothing: {verb.name}", nothing(verb), 1) for verb in VERBS),
    *(Kind(f"SIGKILL: {verb.name}", killed(verb), times(verb, 4)) for verb in VERBS),
    *(Kind(f"full disk, or files that may not grow: {verb.name}", full_disk(verb), times(verb, 3)) for verb in VERBS),
    *(Kind(f"two at once: {verb.name}", race(verb), times(verb, 2)) for verb in VERBS),
    *(Kind(f"damaged {name}", flipped(pattern, needs, words), 6) for name, pattern, needs, words in FILES),
    Kind("code edited between commands", edited, len(EDITS)),
    Kind("read-only places", read_only, len(READ_ONLY)),
    Kind("odd places", odd_place, 18),
    Kind("hostile arrays and texts", hostile, 6),
    Kind("hostile images", hostile_images, 5),
    Kind("modules named like Python's", imports, 4),
)

PLANNED: tuple[tuple[str, int], ...] = tuple(
    (kind.name, turn)
    for kind, turn in sorted(
        ((kind, turn) for kind in CAMPAIGN for turn in range(kind.times)), key=lambda one: (one[1] > 0, one[1] / one[0].times)
    )
)
"""Kind and number of every trial: one of each kind, then as large a part of each."""
