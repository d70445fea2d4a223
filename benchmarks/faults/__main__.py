"""``python -m benchmarks.faults [--quick] [--out FILE]``: faults on purpose, and a table of what came of them.

Every trial runs the command line as processes of their own, in a folder of its own. A trial survives where the command ends with 0, or with 2 and one line, and where the
same command afterwards ends with 0 and gives what an untroubled run gives. A wrong number, a traceback and a lost file are counted, and fail the campaign.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.faults.trials import CAMPAIGN, Table

HEAD = "# Faults on purpose\n\n`python -m benchmarks.faults{quick}`, {seconds:.0f} s. What each kind of fault is, and how it is judged: `benchmarks/faults/trials.py`.\n\n"


def main() -> int:
    """Do the campaign; returns 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some trials of each kind, about a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/faults.md"))
    options = parser.parse_args()
    table, begun = Table(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lt-bench-faults-") as folder:
        for number, (name, trial, quick, whole) in enumerate(CAMPAIGN):
            for position in range(quick if options.quick else whole):
                place = Path(folder) / f"{number}-{position}"
                place.mkdir()
                table.add(name, trial(place, options.seed * 1000 + position))
            print(table.lines()[-1], flush=True)
    head = HEAD.format(quick=" --quick" if options.quick else "", seconds=time.monotonic() - begun)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(head + "\n".join(table.lines()) + "\n", encoding="utf-8")
    for fault in table.faults:
        print(fault, file=sys.stderr)
    return int(bool(table.faults))


if __name__ == "__main__":
    sys.exit(main())
