"""Timing: contestants take turns, so that a busy machine is busy for all of them; medians over the rounds, ratios within a round."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

Contestant = Callable[[], int]
"""Does some steps and returns how many."""


@dataclass(frozen=True)
class Slope:
    """A contestant whose fixed cost is left out: the time of ``long`` minus that of ``short``, over the difference in steps."""

    short: Contestant
    long: Contestant

    def __call__(self) -> int:
        """The short part, to warm up."""
        return self.short()


@dataclass(frozen=True)
class Figure:
    """One measured cost.

    Attributes:
        subject: what was looked at, e.g. ``head steps``.
        size: of the problem.
        name: of the contestant.
        wall: seconds a step, median over the rounds.
        cpu: seconds of process time a step, all threads and ended child processes, median over the rounds; None where it was not taken.
        peer: the contestant that it is compared with, None for the peer itself.
        ratio: wall time over the peer's, median over the rounds.
        cpu_ratio: the same of process time; on a machine shared with others the truer one.
        note: in words.
    """

    subject: str
    size: str
    name: str
    wall: float
    cpu: float | None
    peer: str | None = None
    ratio: float | None = None
    cpu_ratio: float | None = None
    note: str = ""


@dataclass
class Setting:
    """Settings of a run.

    Attributes:
        device: ``cpu`` or ``cuda``.
        quick: fewer rounds and sizes.
        deadline: of ``time.monotonic``; no round begins after it.
    """

    device: str
    quick: bool
    deadline: float
    notes: list[str] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """Number of runs of each contestant."""
        return 3 if self.quick else 7

    @property
    def left(self) -> float:
        """Seconds to the deadline."""
        return self.deadline - time.monotonic()

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def race(
    setting: Setting, subject: str, size: str, contestants: Mapping[str, Contestant], peers: Mapping[str, str], per: int = 1
) -> list[Figure]:
    """Run the contestants in turn, once to warm up and then ``setting.rounds`` times or until the deadline.

    Args:
        setting: of the run.
        subject: for the figures.
        size: for the figures.
        contestants: by name.
        peers: with whom each is compared.
        per: divide the times by this, e.g. the number of heads of a stack.
    """
    rounds: list[dict[str, tuple[float, float]]] = []
    for function in contestants.values():
        function()
    while len(rounds) < setting.rounds and (not rounds or setting.left > 0):
        rounds.append({name: timed(setting, function) for name, function in contestants.items()})

    def median(name: str, clock: int) -> float:
        return statistics.median(times[name][clock] for times in rounds) / per

    def ratio(name: str, clock: int) -> float | None:
        peer = peers.get(name)
        if peer is None or any(times[peer][clock] <= 0 for times in rounds):
            return None
        return statistics.median(times[name][clock] / times[peer][clock] for times in rounds)

    return [
        Figure(
            subject, size, name, median(name, 0), median(name, 1), peers.get(name), ratio(name, 0), ratio(name, 1), f"{len(rounds)} rounds"
        )
        for name in contestants
    ]


def timed(setting: Setting, contestant: Contestant) -> tuple[float, float]:
    """Wall and process seconds of a step."""
    if isinstance(contestant, Slope):
        short, few = _clocked(setting, contestant.short)
        long, many = _clocked(setting, contestant.long)
        return (long[0] - short[0]) / (many - few), (long[1] - short[1]) / (many - few)
    (wall, cpu), steps = _clocked(setting, contestant)
    return wall / steps, cpu / steps


def _clocked(setting: Setting, function: Callable[[], int]) -> tuple[tuple[float, float], int]:
    setting.synchronise()
    wall, cpu = time.perf_counter(), process_seconds()
    steps = function()
    setting.synchronise()
    return (time.perf_counter() - wall, process_seconds() - cpu), steps


def process_seconds() -> float:
    """Processor seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def as_rows(figures: list[Figure]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(figure) for figure in figures]


def as_table(figures: list[Figure]) -> str:
    """A Markdown table."""
    lines = [
        "| subject | size | what | µs (wall) | µs (process) | ratio (wall) | ratio (process) | to | |",
        "|---|---|---|---:|---:|---:|---:|---|---|",
    ]
    for f in figures:
        ratios = ["" if value is None else f"{value:.2f}" for value in (f.ratio, f.cpu_ratio)]
        lines.append(
            f"| {f.subject} | {f.size} | {f.name} | {f.wall * 1e6:,.1f} | {'' if f.cpu is None else f'{f.cpu * 1e6:,.1f}'} | {ratios[0]} | {ratios[1]} | {f.peer or ''} | {f.note} |"
        )
    return "\n".join(lines) + "\n"
