"""Strategies compared on validation images alone: hyper-parameters chosen on one half of them and measured on the other, both ways, over seeded halves.

    python benchmarks/half_splits.py --cache DIR --strategies standardised_la,prototype_la --out benchmarks/results/half-splits-NAME

Every point of a strategy's grid is fitted once per seed, as ``lt-bench tune`` does it; then each of ``--halves`` splits halves the validation images of every class, the
best point on one half (macro accuracy) is measured on the other, and the other way round. Writes OUT.md (means, and the difference from ``--baseline``, tuned in the
same way on the same halves) and OUT.csv (every choice). The test set is never loaded. Halves overlap, so their spread is no confidence interval.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # as the other benchmarks: a checkout will do

from lt_bench.bench.planning import plan  # noqa: E402
from lt_bench.bench.sources.cache import CacheSource  # noqa: E402
from lt_bench.bench.tuning.points import accepted, grid_points  # noqa: E402
from lt_bench.bench.tuning.tune import check_validation  # noqa: E402
from lt_bench.core.devices import device_name  # noqa: E402
from lt_bench.core.environment import environment  # noqa: E402
from lt_bench.core.errors import UserError  # noqa: E402
from lt_bench.core.files import write_text  # noqa: E402
from lt_bench.engine.heads.fit import Hardware  # noqa: E402
from lt_bench.features.cache import open_cache  # noqa: E402
from lt_bench.strategies.registry import find  # noqa: E402


@dataclass(frozen=True)
class Choice:
    """The point that was best on one half, and its macro accuracies (fractions) there and on the other; ``way`` is 0 or 1."""

    strategy: str
    halves: int
    way: int
    point: dict[str, Any]
    chosen_at: float
    measured: float


def half_of(labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Random mask (N,) of half of the images of every class; the odd image of a class falls to either half at random."""
    generator = np.random.default_rng(seed)
    mask = np.zeros(labels.size, dtype=bool)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        mask[rows[: (rows.size + int(generator.integers(2))) // 2]] = True
    return mask


def macro(correct: NDArray[np.float64], labels: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Macro accuracy (P,) of each of P points on the images of ``mask`` (N,), over classes with images there; ``correct`` (P, N) is the share of seeds that are right."""
    classes, index = np.unique(labels[mask], return_inverse=True)
    sums = np.zeros((classes.size, correct.shape[0]))
    np.add.at(sums, index, correct[:, mask].T)
    return (sums / np.bincount(index)[:, None]).mean(0)


def choices(
    strategy: str, points: list[dict[str, Any]], correct: NDArray[np.float64], labels: NDArray[np.int64], halves: int
) -> list[Choice]:
    """The choices of every split, from either half; the first of equal points wins, as in tuning."""
    found = []
    for seed in range(halves):
        mask = half_of(labels, seed)
        for way, (here, there) in enumerate(((mask, ~mask), (~mask, mask))):
            scores = macro(correct, labels, here)
            best = int(scores.argmax())
            measured = macro(correct[best : best + 1], labels, there)[0]
            found.append(Choice(strategy, seed, way, points[best], float(scores[best]), float(measured)))
    return found


def correct_on_validation(bench: CacheSource, name: str, seeds: list[int]) -> tuple[list[dict[str, Any]], NDArray[np.float64]]:
    """The points of a strategy's grid, and the share (P, N) of seeds that are right for each point and validation image; a diverged fit counts as wrong."""
    entry, labels = find(name), bench.split("val").labels.cpu().numpy()
    points, _ = accepted(entry, bench.cache, {}, grid_points(entry, {}))
    planned = [plan(entry, bench.cache.manifest, point, seeds) for point in points]
    right: dict[str, NDArray[np.bool_]] = {}
    for runs, fitted in bench.fitted([run for of_point in planned for run in of_point]):
        for head, run in enumerate(runs):
            try:
                fitted.check_finite(head)
                right[run.id] = bench.measure(fitted.head(head).inference_head(), "val").predictions == labels
            except UserError:
                right[run.id] = np.zeros(labels.size, dtype=bool)
    return points, np.stack([np.mean([right[run.id] for run in of_point], axis=0) for of_point in planned])


def rows_of(found: dict[str, list[Choice]], baseline: str) -> list[tuple[str, ...]]:
    """One row for each strategy: mean over halves, difference from the baseline on the same halves with its range, number of splits in which the strategy is ahead, and most frequent choice."""
    per_split = {
        name: [statistics.fmean(pair.measured for pair in made if pair.halves == seed) for seed in sorted({one.halves for one in made})]
        for name, made in found.items()
    }
    rows = []
    for name, made in found.items():
        gaps = [100 * (one - other) for one, other in zip(per_split[name], per_split[baseline], strict=True)]
        written = [json.dumps(one.point) for one in made]
        usual = max(written, key=lambda text: (written.count(text), -written.index(text)))
        gap = "" if name == baseline else f"{statistics.fmean(gaps):+.2f}"
        spread = "" if name == baseline else f"{min(gaps):+.2f} to {max(gaps):+.2f}"
        ahead = "" if name == baseline else f"{sum(one > 0 for one in gaps)} of {len(gaps)}"
        mean = 100 * statistics.fmean(per_split[name])
        rows.append((name, f"{mean:.2f}", gap, spread, ahead, f"`{usual}` ({written.count(usual)} of {len(written)})"))
    return rows


def text(title: str, found: dict[str, list[Choice]], baseline: str, command: str, where: str) -> str:
    """The table in Markdown."""
    head = f"# {title}\n\nValidation macro accuracy in per cent: chosen on one half of the validation images of every class, measured on the other, mean of both\nways over the seeded halves. Halves overlap, so the range is no confidence interval. {where}\n\n    {command}\n\n"
    lines = [f"| strategy | accuracy | less {baseline} | range over the halves | ahead | usual choice |", "|---|--:|--:|--:|--:|---|"]
    return head + "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows_of(found, baseline))]) + "\n"


def main() -> None:
    """Fit every grid, halve, choose, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of a cache with validation images that its backbone has not seen")
    parser.add_argument("--strategies", required=True, help="names, comma-separated")
    parser.add_argument("--baseline", default="logit_adjustment", help="what they are compared with")
    parser.add_argument("--halves", type=int, default=20, help="how many splits into halves")
    parser.add_argument("--seeds", type=int, default=1, help="head seeds of every point, where a fit has any")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="OUT.md and OUT.csv are written")
    options = parser.parse_args()
    cache = open_cache(options.cache)
    check_validation(cache)
    bench, labels = CacheSource(cache, Hardware(options.accelerator, 1)), cache.split("val").labels.numpy()
    found: dict[str, list[Choice]] = {}
    for name in dict.fromkeys([options.baseline, *options.strategies.split(",")]):
        points, correct = correct_on_validation(bench, name, list(range(options.seeds)))
        found[name] = choices(name, points, correct, labels, options.halves)
        print(f"{name}: {len(points)} points", flush=True)
    manifest, made = cache.manifest, environment(device=device_name(bench.device), devices=1)
    command = (
        f"python benchmarks/half_splits.py --cache DIR --baseline {options.baseline} "
        f"--strategies {options.strategies} --halves {options.halves} --seeds {options.seeds}"
    )
    where = f"{labels.size:,} images, {options.halves} halves, cache `{manifest.name}` (key `{manifest.key}`), commit {str(made['commit'])[:7]}, torch {made['torch']}."
    write_text(options.out.with_suffix(".md"), text(f"Halves of validation: {manifest.name}", found, options.baseline, command, where))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["cache_key", "strategy", "halves", "way", "point", "chosen_at", "measured"])
    for made_choices in found.values():
        for one in made_choices:
            writer.writerow(
                [manifest.key, one.strategy, one.halves, one.way, json.dumps(one.point), f"{one.chosen_at:.6f}", f"{one.measured:.6f}"]
            )
    write_text(options.out.with_suffix(".csv"), buffer.getvalue())


if __name__ == "__main__":
    main()
