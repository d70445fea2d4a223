"""Trainings of many backbones, one after another, and what heads reach on them.

python -m benchmarks.evidence --data-dir DATA      goes on where it was ended, until the queue is empty; any kill ends it
python -m benchmarks.evidence --status             what is done, what runs, at which epoch
python -m benchmarks.evidence --pause              stops the running training in place, before anything is timed; --resume
python -m benchmarks.evidence --data-dir DATA --take r32_ldam_s0=FOLDER
python -m benchmarks.evidence --rows               adds the records to benchmarks/results/evidence/runs.parquet

All but the rows lies in --home.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.evidence.queue import PAUSE, status, work
from benchmarks.evidence.rows import write_rows
from benchmarks.evidence.trainings import QUEUE
from lt_bench.core.errors import UserError
from lt_bench.features.locate import home as home_of_suite


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--data-dir", type=Path, help="folder of the images")
    parser.add_argument("--home", type=Path, help="default: $EVIDENCE, else evidence in the suite's home")
    parser.add_argument("--results", type=Path, nargs="*", default=[], help="more directories of records for --rows")
    what = parser.add_mutually_exclusive_group()
    for name in ("--status", "--pause", "--resume", "--rows"):
        what.add_argument(name, action="store_true")
    what.add_argument("--take", metavar="NAME=PATH", help="weights that were trained elsewhere, in the place of a training")
    options = parser.parse_args()
    home = (options.home or Path(os.environ.get("EVIDENCE") or home_of_suite() / "evidence")).expanduser().resolve()
    by_name = {training.name: training for training in QUEUE}
    taken, _, path = (options.take or "").partition("=")
    if taken and taken not in by_name:
        parser.error(f"no training is called {taken}; --status names them")
    directories = [*filter(Path.is_dir, [home / "results"]), *options.results]
    if options.rows and not directories:
        parser.error("no records; --results names a directory of them")
    if options.rows:
        print(f"{write_rows(directories)} runs")
    elif options.status or options.pause or options.resume:
        home.mkdir(parents=True, exist_ok=True)
        if options.pause:
            (home / PAUSE).touch()
        elif options.resume:
            (home / PAUSE).unlink(missing_ok=True)
        print("\n".join(status(QUEUE, home)))
    elif options.data_dir is None:
        parser.error("--data-dir is needed")
    elif options.take:
        from benchmarks.evidence.given import take

        print(take(by_name[taken], Path(path).expanduser(), home, options.data_dir.resolve()))
    elif failed := work(QUEUE, home, options.data_dir.resolve()):
        sys.exit(f"failed, and tried again by the next call: {', '.join(failed)}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.stderr.write(f"benchmarks.evidence: {error}\n")
        sys.exit(2)
