"""``python -m benchmarks.faults [--minutes M] [--only WORDS] [--out DIR]``: faults on purpose, and a table of what came of them.

Every trial runs the command line as processes of their own, in a folder of its own, on inputs of the campaign's own. A trial survives where the command ends with 0, or
with 2 and one line, and where the same command afterwards ends with 0 and gives what an untroubled one gives. A wrong number, a traceback and a lost file are
counted, and fail the campaign.

The kinds take turns, so that a campaign that runs out of its minutes has tried all of them. Each trial is a line of ``cases.jsonl``, and in the table, as soon as it ends: the same command at
the same commit goes on where an earlier one was broken off. The same seed draws the same faults; a moment of a kill depends on the machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.faults.campaign import CAMPAIGN, PLANNED
from benchmarks.faults.cases import Case, as_markdown, cases_of, write_cases
from benchmarks.faults.commands import apart, import_libraries
from benchmarks.faults.outcomes import Outcome
from benchmarks.faults.verbs import template


def main() -> int:
    """Do the campaign; returns 1 where anything was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60, help="no trial is begun after these")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--only", default="", help="kinds with this in their name")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/faults"))
    options = parser.parse_args()
    import_libraries()
    here = apart(_machine)
    commit = str(here["commit"])[:9] + (" with changes" if here["dirty"] else "")
    planned = [(kind, 1000 * options.seed + turn) for kind, turn in PLANNED]
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "cases.jsonl"
    cases = [] if here["dirty"] else [case for case in cases_of(file, commit) if (case.kind, case.seed) in planned]
    write_cases(file, cases, "w")
    machine = f"{here['cpu']} with {os.cpu_count()} processors, {here['platform']}, Python {here['python']}, torch {here['torch']}"
    tried, begun = {(case.kind, case.seed) for case in cases}, time.time()
    chosen = [one for one in planned if one not in tried and options.only in one[0]]
    for case in trials(chosen, commit, options.jobs, begun + 60 * options.minutes):
        cases.append(case)
        write_cases(file, [case])
        (options.out / "faults.md").write_text(as_markdown(cases, planned, options.seed, machine), encoding="utf-8")
        print(f"{time.time() - begun:5.0f} s  {case.kind}, seed {case.seed}, {case.seconds:.0f} s: {case.outcome.summary}", flush=True)
    return int(any(case.outcome.faults for case in cases))


def trials(chosen: Sequence[tuple[str, int]], commit: str, jobs: int, until: float) -> Iterator[Case]:
    """Do the trials of kinds and seeds, and give each as it ends; none is begun after a moment."""
    if not chosen:
        return
    template()
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        for done in as_completed([pool.submit(one_trial, kind, seed, commit, until) for kind, seed in chosen]):
            if (case := done.result()) is not None:
                yield case
    shutil.rmtree(template())


def one_trial(name: str, seed: int, commit: str, until: float) -> Case | None:
    """A trial in a folder of its own; None once the time is up."""
    begun = time.time()
    if begun > until:
        return None
    with tempfile.TemporaryDirectory(prefix="lt-bench-faults-") as folder:
        try:
            outcome = next(kind for kind in CAMPAIGN if kind.name == name).trial(Path(folder), seed)
        except Exception:  # noqa: BLE001 - the other trials go on
            outcome = Outcome(tracebacks=[f"the trial itself: {traceback.format_exc()[-600:]}"])
    return Case(commit, name, seed, outcome, round(time.time() - begun, 1))


def _machine() -> dict[str, object]:
    from lt_bench.core.environment import environment

    return environment()


if __name__ == "__main__":
    sys.exit(main())
