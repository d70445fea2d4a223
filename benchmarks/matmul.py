"""Cost and gain of less exact products: every strategy fitted by steps, with official hyper-parameters, once for each precision of float32 products.

    python -m benchmarks.matmul --out benchmarks/results/matmul [--cache CACHE] [--precisions highest,medium] [--accelerator gpu] [--seeds 0,1,2]

Accuracy is on test, plain view; seconds are those of the fits.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

from lt_bench.bench.execute import execute
from lt_bench.bench.planning import Setting, plan
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import open_cache
from lt_bench.features.locate import find_cache
from lt_bench.results.store import Store
from lt_bench.strategies.registry import find, strategy_names


@dataclass(frozen=True)
class Line:
    """One record: accuracy in percent, seconds of its fit."""

    strategy: str
    seed: int
    matmul: str
    accuracy: float
    seconds: float


def measured(options: argparse.Namespace) -> tuple[list[Line], dict[str, Any]]:
    """A line for each record, and the environment of the fits."""
    cache, seeds, lines, environment = open_cache(find_cache(options.cache)), [int(seed) for seed in options.seeds.split(",")], [], {}
    entries = [entry for entry in map(find, strategy_names()) if entry.fitting == "sgd"]
    for matmul in options.precisions.split(","):
        bench, records = CacheSource(cache, Hardware(options.accelerator)), []
        planned = [run for entry in entries for run in plan(entry, cache.manifest, {}, seeds, setting=Setting(matmul=matmul))]
        with tempfile.TemporaryDirectory() as folder:
            failures = execute(bench, planned, Store(Path(folder)), records.append)
        if failures:
            raise SystemExit("; ".join(failures))
        lines += [Line(r.identity.strategy, r.seeds.repetition, matmul, 100 * r.metrics["test"]["accuracy"], r.time.fit_s) for r in records]
        environment = records[0].environment
    return lines, environment


def table(lines: list[Line], environment: dict[str, Any], first: str, other: str) -> str:
    """Markdown: means over seeds, the difference, the largest difference of a seed, and the seconds of all seeds."""
    accuracy: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for line in lines:
        accuracy[line.strategy][line.matmul][line.seed] = line.accuracy
        seconds[line.strategy][line.matmul] += line.seconds
    rows, every = [], []
    for name, found in accuracy.items():
        differences = [found[other][seed] - value for seed, value in found[first].items()]
        every += differences
        means = (fmean(found[first].values()), fmean(found[other].values()), fmean(differences), max(map(abs, differences)))
        cells = [
            f"{means[0]:.2f}",
            f"{means[1]:.2f}",
            f"{means[2]:+.3f}",
            f"{means[3]:.2f}",
            *(f"{seconds[name][m]:.1f}" for m in (first, other)),
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    total = {matmul: sum(of[matmul] for of in seconds.values()) for matmul in (first, other)}
    where = ", ".join(f"{name} {environment[name]}" for name in ("cpu", "device", "threads", "torch", "commit", "dirty"))
    return (
        f"# Products in `{other}` beside `{first}`\n\n{where}.\n\n{len(rows)} strategies: mean difference {fmean(every):+.3f} points, largest of one seed "
        f"{max(map(abs, every)):.2f}; seconds of all fits {total[first]:.0f} and {total[other]:.0f}.\n\n"
        f"| strategy | {first}, % | {other}, % | difference | largest of a seed | s, {first} | s, {other} |\n|---|--:|--:|--:|--:|--:|--:|\n"
        + "\n".join(rows)
        + "\n"
    )


def main() -> None:
    """Measure, write ``OUT.csv`` and ``OUT.md``, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", default="cifar100_lt-if100-resnet10s2")
    parser.add_argument("--precisions", default="highest,medium")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    lines, environment = measured(options)
    first, *others = options.precisions.split(",")
    text = "\n".join(table(lines, environment, first, other) for other in others)
    with options.out.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Line)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
