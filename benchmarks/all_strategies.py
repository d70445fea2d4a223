"""Tune every strategy and run it, official and tuned, on one or several caches; made to be called again until all is recorded.

    python benchmarks/all_strategies.py --caches DIR... --results RESULTS --limit 500 [--accelerator gpu]

Each cache is a process of its own. What is tuned or recorded already is not done again. For 53 strategies on 10,847 x 512 features of 100 classes, one seed for each
point of a grid and five for the runs, strategies fitted by steps take about 3,300 s of one free core (2,100 s of it tuning), from the measured time of a step; the
two solved by L-BFGS some minutes more. The table is then ``lt-bench leaderboard --results RESULTS``, and ``benchmarks/below_joint.py`` puts reasons beside what ends below
the stage-1 head.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the device machine has the checkout, not the package


def one_cache(options: argparse.Namespace) -> None:
    """Tune, then run, on one cache."""
    from lt_bench.bench.execute import execute
    from lt_bench.bench.sources.cache import CacheSource
    from lt_bench.bench.suite.run import Suite, suite_plan
    from lt_bench.bench.tuned import tuning_name
    from lt_bench.bench.tuning.tune import tune, write_tuning
    from lt_bench.core.errors import UserError
    from lt_bench.engine.heads.fit import Hardware
    from lt_bench.features.cache import open_cache
    from lt_bench.results.store import Store
    from lt_bench.strategies.registry import find, strategy_names

    deadline = time.monotonic() + options.limit
    cache = open_cache(options.caches[0])
    names = options.strategies.split(",") if options.strategies else list(strategy_names())
    bench, store, records = CacheSource(cache, Hardware(options.accelerator, 1)), Store(options.results), []
    for name in names:
        if time.monotonic() > deadline:
            print(f"{cache.manifest.name}: time is up before {name}", flush=True)
            break
        started, entry = time.monotonic(), find(name)
        if entry.grid and not (options.results / "tuning" / tuning_name(entry, cache.manifest)).is_file():
            try:
                document = tune(entry, bench, range(options.tuning_seeds), results=options.results)
            except UserError as error:
                print(f"{cache.manifest.name}: {name}: not tuned: {error}", flush=True)
            else:
                write_tuning(document, entry, cache.manifest, options.results)
        tuned = time.monotonic()
        suite = Suite(strategies=[name], caches=[], seeds=list(range(options.seeds)), hyperparameters=["own", "tuned"])
        planned, missing = suite_plan(suite, cache, options.results)
        failures = execute(bench, planned, store, records.append)
        for line in [*missing, *failures]:
            print(line, flush=True)
        print(
            f"{cache.manifest.name}: {name}: tuned in {tuned - started:.1f} s, {len(planned)} runs in {time.monotonic() - tuned:.1f} s",
            flush=True,
        )


def main() -> None:
    """One process per cache."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--caches", type=Path, nargs="+", required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=500, help="seconds after which nothing new is begun")
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--strategies", default="", help="names, comma-separated; all by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tuning-seeds", type=int, default=1, help="seeds of every point of a grid")
    options = parser.parse_args()
    if len(options.caches) == 1:
        one_cache(options)
        return
    shared = ["--results", str(options.results), "--limit", str(options.limit), "--accelerator", options.accelerator]
    shared += ["--strategies", options.strategies, "--seeds", str(options.seeds), "--tuning-seeds", str(options.tuning_seeds)]
    processes = [subprocess.Popen([sys.executable, __file__, "--caches", str(cache), *shared]) for cache in options.caches]
    sys.exit(max(process.wait() for process in processes))


if __name__ == "__main__":
    main()
