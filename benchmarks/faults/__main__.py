"""``python -m benchmarks.faults [--minutes M] [--only WORDS] [--out DIR]``: faults on purpose, and a table of what came of them.

Every trial runs the command line as processes of their own, in a folder of its own, on inputs of the campaign's own. A trial survives where the command ends with 0, or
with 2 and one line, and where the same command afterwards ends with 0 and gives what an untroubled one gives. A wrong number, a traceback and a lost file are
counted, and fail the campaign.

The kinds take turns, so that a campaign that runs out of its minutes has tried all of them. The same seed draws the same faults; a moment of a kill depends on the machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.faults.campaign import CAMPAIGN
from benchmarks.faults.commands import apart, import_libraries
from benchmarks.faults.outcomes import Outcome, Table
from benchmarks.faults.verbs import template

HEAD = (
    "# Faults on purpose\n\n`{command}`: {seconds:.0f} s with {jobs} trials at a time, of lt-bench at {commit}. What each kind of fault is, and how it is judged: "
    "`benchmarks/faults/`. Every verb is compared with what it gives where nothing troubles it.\n\n"
)


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
    kinds = [kind for kind in CAMPAIGN if options.only in kind.name]
    table, begun = Table({kind.name: [0, 0, 0, 0, 0] for kind in kinds}), time.monotonic()
    import_libraries()
    template()
    turns = [(kind, turn) for turn in range(max(kind.times for kind in kinds)) for kind in kinds if turn < kind.times]
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("fork")) as pool:
        given = [(kind.name, options.seed * 1000 + turn, begun + 60 * options.minutes) for kind, turn in turns]
        for (kind, _), outcome in zip(turns, pool.map(one_trial, given), strict=True):
            if outcome is not None:
                table.add(kind.name, outcome)
                print(f"{time.monotonic() - begun:5.0f} s  {kind.name}: {outcome.summary}", flush=True)
    shutil.rmtree(template())
    write(table, options, time.monotonic() - begun)
    return int(bool(table.faults))


def one_trial(given: tuple[str, int, float]) -> Outcome | None:
    """A trial in a folder of its own; None once the time is up."""
    name, seed, until = given
    if time.monotonic() > until:
        return None
    with tempfile.TemporaryDirectory(prefix="lt-bench-faults-") as folder:
        try:
            return next(kind for kind in CAMPAIGN if kind.name == name).trial(Path(folder), seed)
        except Exception:  # noqa: BLE001 - the other trials go on
            return Outcome(tracebacks=[f"the trial itself: {traceback.format_exc()[-600:]}"])


def write(table: Table, options: argparse.Namespace, seconds: float) -> None:
    """The table as Markdown and as JSON."""
    here = apart(_machine)
    command = f"python -m benchmarks.faults --minutes {options.minutes:g} --seed {options.seed}" + (
        f" --only '{options.only}'" if options.only else ""
    )
    options.out.mkdir(parents=True, exist_ok=True)
    head = HEAD.format(command=command, seconds=seconds, jobs=options.jobs, commit=str(here["commit"])[:7])
    (options.out / "faults.md").write_text(head + "\n".join(table.lines()) + "\n", encoding="utf-8")
    document = {"command": command, "seconds": round(seconds), "environment": here, "rows": table.named_rows(), "faults": table.faults}
    (options.out / "faults.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _machine() -> dict[str, object]:
    from lt_bench.core.environment import environment

    return environment()


if __name__ == "__main__":
    sys.exit(main())
