"""The protocol of README.md: ``python -m benchmarks.ours.protocol --caches DIR --results DIR`` tunes, fits and measures; ``judge`` makes the tables of it.

For each board and strategy: every point with two seeds, judged by macro accuracy on validation; the chosen one with three seeds, on test. What is tuned or recorded is
not done again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.ours.boards import BOARDS, OTHERS, Board
from benchmarks.ours.rivals import OURS, REFERENCES, RIVALS, TUNING_SEEDS, points
from lt_bench.bench.execute import execute
from lt_bench.bench.planning import Planned, plan
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.tuned import read_tuning, tuning_name, tuning_of
from lt_bench.bench.tuning.tune import tune, write_tuning
from lt_bench.core.errors import UserError
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import open_cache
from lt_bench.results.store import Store
from lt_bench.strategies.registry import find
from lt_bench.strategies.revisions import code_of

SEEDS = (0, 1, 2)
STRATEGIES = REFERENCES | RIVALS | OURS


def tuned(name: str, bench: CacheSource, results: Path) -> dict[str, Any]:
    """The document of a strategy's tuning on a board, from the results where it is there and of the same code."""
    entry = find(name)
    path = results / "tuning" / tuning_name(entry, bench.manifest)
    if path.is_file():
        document = read_tuning(path)
        if document["code"] == code_of(entry, document["choice"]).text and len(document["grid"]) == len(points(STRATEGIES[name])):
            return document
    document = tune(entry, bench, range(TUNING_SEEDS), grid=points(STRATEGIES[name]))
    write_tuning(document, entry, bench.manifest, results)
    return document


def planned(name: str, bench: CacheSource, results: Path) -> list[Planned]:
    """The runs that are measured on test: those of the chosen point, or of the only one there is."""
    entry = find(name)
    if len(points(STRATEGIES[name])) == 1:
        return plan(entry, bench.manifest, points(STRATEGIES[name])[0], SEEDS)
    document = tuned(name, bench, results)
    return plan(entry, bench.manifest, document["choice"], SEEDS, tuning_of(document))


def run(board: Board, names: list[str], caches: Path, results: Path) -> Iterator[str]:
    """All of a board; a line for each strategy, or why it has no result."""
    bench, store = CacheSource(open_cache(board.cache(caches)), Hardware("cpu", 1)), Store(results)
    for name in names:
        started = time.monotonic()
        try:
            runs = planned(name, bench, results)
        except UserError as error:
            yield f"{board.name}: {name}: {error}"
            continue
        ready = time.monotonic()
        failures = execute(bench, runs, store, lambda record: None)
        yield from (f"{board.name}: {line}" for line in failures)
        yield f"{board.name}: {name}: tuned in {ready - started:.0f} s, measured in {time.monotonic() - ready:.0f} s"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--caches", type=Path, required=True, help="where benchmarks.ours.boards has put them")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--boards", default="", help="names, comma-separated; by default all of the protocol whose cache is there")
    parser.add_argument("--strategies", default="", help="names, comma-separated; all by default")
    options = parser.parse_args()
    wanted = options.boards.split(",") if options.boards else [board.name for board in BOARDS if board.cache(options.caches).is_dir()]
    names = options.strategies.split(",") if options.strategies else list(STRATEGIES)
    for board in (board for board in (*BOARDS, *OTHERS) if board.name in wanted):
        for line in run(board, names, options.caches, options.results):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
