"""Trials that have ended, a JSON line each, so that a campaign that is broken off goes on; and the table of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.faults.outcomes import Outcome

COLUMNS = ["planned", "tried", "survived", "wrong numbers", "tracebacks", "lost files"]
HEAD = (
    "# Faults on purpose\n\n"
    "`python -m benchmarks.faults --seed {seed}` at commit {commit}, {begun} to {ended} UTC ({minutes:.0f} minutes of trials), on {machine}. "
    "What each kind of fault is, and how it is judged: `benchmarks/faults/`; every trial: `cases.jsonl`.\n\n"
)


@dataclass(frozen=True)
class Case:
    """A trial that has ended.

    Attributes:
        commit: of the suite.
        kind: the row in the table.
        seed: of the fault.
        outcome: what came of it.
        seconds: that it took.
        ended: seconds since the epoch.
    """

    commit: str
    kind: str
    seed: int
    outcome: Outcome
    seconds: float
    ended: float = field(default_factory=time.time)


def cases_of(file: Path, commit: str) -> list[Case]:
    """The cases of a commit; a last line that was broken off is none."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
    documents = [json.loads(line) for line in lines if line.endswith("\n")]
    return [Case(**one | {"outcome": Outcome(**one["outcome"])}) for one in documents if one["commit"] == commit]


def write_cases(file: Path, cases: Iterable[Case], mode: str = "a") -> None:
    """A line for each case, after those of the file, or with the mode ``w`` in their place."""
    with file.open(mode, encoding="utf-8") as lines:
        lines.writelines(json.dumps(asdict(case)) + "\n" for case in cases)


def as_markdown(cases: Sequence[Case], planned: Iterable[tuple[str, int]], seed: int, machine: str) -> str:
    """Counts by kind of fault, and every fault that remains.

    Args:
        cases: at least one.
        planned: kind and seed of every trial of the campaign.
        seed: of the campaign.
        machine: processor and versions.
    """
    rows = {kind: [0] * len(COLUMNS) for kind, _ in planned}
    for kind, _ in planned:
        rows[kind][0] += 1
    for case in cases:
        faults = [len(case.outcome.wrong), len(case.outcome.tracebacks), len(case.outcome.lost)]
        for position, count in enumerate((1, int(not any(faults)), *faults), start=1):
            rows[case.kind][position] += count
    total = [sum(row[position] for row in rows.values()) for position in range(len(COLUMNS))]
    lines = [
        ["fault", *COLUMNS],
        [":--", *["--:"] * len(COLUMNS)],
        *([kind, *map(str, row)] for kind, row in (*rows.items(), ("all", total))),
    ]
    begun, ended = min(case.ended - case.seconds for case in cases), max(case.ended for case in cases)
    begun, ended = (time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment)) for moment in (begun, ended))
    minutes = sum(case.seconds for case in cases) / 60
    head = HEAD.format(seed=seed, commit=cases[0].commit, begun=begun, ended=ended, minutes=minutes, machine=machine)
    remaining = [f"- {case.kind}, seed {case.seed}: {' '.join(case.outcome.summary.split())}" for case in cases if case.outcome.faults]
    return (
        head
        + "\n".join("| " + " | ".join(line) + " |" for line in lines)
        + "\n"
        + "\n".join(["\n## What remains\n", *remaining, ""] if remaining else [])
    )
