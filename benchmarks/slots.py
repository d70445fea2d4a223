"""Effects of the slots in the suite ``slots``: main effects and interactions of target, transform and sampler, with intervals over seeds and over test images.

    lt-bench bench slots --results results/slots --workers 1 --accelerator cpu
    python benchmarks/slots.py --results results/slots --out benchmarks/results/slots/cifar100_lt-resnet10s2

Writes OUT.csv, a row a composition, and OUT.md. An effect is a difference of means over the combinations of the other slots, in points of test accuracy. Its interval
over seeds is Student's over the differences of the seeds, of one backbone and the same test images; that over images is normal over the differences of the images within
their classes, of these heads. Effects are those of this recipe on these features, with every combination of the other slots weighing the same.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # as the other benchmarks: a checkout will do

from lt_bench.core.errors import UserError  # noqa: E402
from lt_bench.core.files import write_text  # noqa: E402
from lt_bench.leaderboard.load import Runs, load_records  # noqa: E402

AXES = ("target", "transform", "sampler")
METRICS = ("accuracy", "many", "medium", "few", "loma_column_mean", "loma_column_balance")
REFERENCE = ("one_hot", "identity", "instance")
"""Levels that effects are differences from: plain cross-entropy on batches of instances."""
Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Study:
    """A full design: ``correct`` (targets, transforms, samplers, seeds, images) is 1 where an image is classified correctly; ``metrics`` by name without images."""

    levels: tuple[tuple[str, ...], ...]
    seeds: tuple[int, ...]
    correct: NDArray[np.float32]
    metrics: dict[str, NDArray[np.float64]]
    labels: NDArray[np.int64]

    def contrast(self, weights: Weights) -> tuple[float, float, float]:
        """A weighted sum of the compositions' accuracies, ``weights`` (targets, transforms, samplers), in points, with half-widths of its 95 % intervals over seeds and over images."""
        each = 100 * np.tensordot(weights, self.correct, axes=3)  # (seeds, images)
        by_seed, by_image = each.mean(1), each.mean(0)
        n = len(self.seeds)
        over_seeds = float(stats.t.ppf(0.975, n - 1) * by_seed.std(ddof=1) / math.sqrt(n))
        within = sum(np.var(by_image[self.labels == k], ddof=1) * (self.labels == k).sum() for k in np.unique(self.labels))
        return float(by_seed.mean()), over_seeds, float(1.96 * math.sqrt(within) / self.labels.size)


def study(runs: Runs) -> Study:
    """The full design of the compositions among the records.

    Raises:
        UserError: a reference level, a combination or a seed is missing.
    """
    given = [json.loads(text) for text in runs.columns["hyperparameters"]]
    rows = [position for position, name in enumerate(runs.columns["strategy"]) if name == "compose"]
    found = [tuple(dict.fromkeys(given[row][axis] for row in rows)) for axis in AXES]
    levels = tuple(
        (first, *sorted(level for level in of_axis if level != first))
        for first, of_axis in zip(REFERENCE, found, strict=True)
        if first in of_axis
    )
    seeds = tuple(sorted({int(runs.columns["seed"][row]) for row in rows}))
    if len(levels) < len(AXES) or len(rows) != math.prod(map(len, levels)) * len(seeds):
        raise UserError(f"{len(rows)} records of compositions are no full design of {' x '.join(AXES)} x seeds with {', '.join(REFERENCE)}")
    labels = runs.array(rows[0], "test_labels").astype(np.int64)
    shape = (*map(len, levels), len(seeds))
    correct, metrics = np.zeros((*shape, labels.size), np.float32), {name: np.zeros(shape) for name in METRICS}
    for row in rows:
        place = (*(of.index(given[row][axis]) for of, axis in zip(levels, AXES, strict=True)), seeds.index(int(runs.columns["seed"][row])))
        correct[place] = runs.array(row, "test_predictions") == labels
        for name in METRICS:
            metrics[name][place] = runs.columns[f"test/{name}"][row]
    return Study(levels, seeds, correct, metrics, labels)


def weights_of(shape: tuple[int, ...], chosen: dict[int, Weights]) -> Weights:
    """Weights (targets, transforms, samplers): the given ones on the chosen axes, equal ones on the others."""
    parts = [chosen.get(axis, np.full(size, 1 / size)) for axis, size in enumerate(shape)]
    return np.einsum("i,j,k->ijk", *parts)


def difference(size: int, level: int) -> Weights:
    """Weights (size,) of a level minus the first level."""
    weights = np.zeros(size)
    weights[level], weights[0] = 1, -1
    return weights


def shares(cells: NDArray[np.float64]) -> dict[str, float]:
    """Shares of main effects, pairs and the triple interaction in the sum of squares of the cell means."""
    centred = cells - cells.mean()
    effects: dict[tuple[int, ...], NDArray[np.float64]] = {}
    for order in (1, 2, 3):
        for axes in itertools.combinations(range(3), order):
            mean = centred.mean(axis=tuple(axis for axis in range(3) if axis not in axes), keepdims=True)
            effects[axes] = mean - sum(effects[part] for part in effects if set(part) < set(axes))
    total = float((centred**2).sum())
    return {
        " x ".join(AXES[axis] for axis in axes): float((np.broadcast_to(one, cells.shape) ** 2).sum()) / total
        for axes, one in effects.items()
    }


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *("| " + " | ".join(row) + " |" for row in rows)])


def effects(of: Study) -> Iterator[list[str]]:
    """Main effects, one line for each level of each axis."""
    shape = tuple(map(len, of.levels))
    for axis, names in enumerate(of.levels):
        for level, name in enumerate(names):
            part = {metric: np.moveaxis(of.metrics[metric], axis, 0)[level].mean() for metric in METRICS}
            value = [f"{100 * part[metric]:.2f}" for metric in METRICS[:4]]
            own = {axis: difference(shape[axis], level)}
            firsts = {other: np.eye(size)[0] for other, size in enumerate(shape)}
            both = [of.contrast(weights_of(shape, chosen)) for chosen in (own, firsts | own)]
            yield [
                AXES[axis],
                f"`{name}`",
                *value,
                *(f"{mean:+.2f} ± {seeds:.2f} / {images:.2f}" if level else "" for mean, seeds, images in both),
            ]


def interactions(of: Study) -> list[list[str]]:
    """Interactions of pairs of levels: the effect of both beyond the sum of each one's effect beside the other's first level; largest first."""
    shape, rows = tuple(map(len, of.levels)), []
    for first, second in itertools.combinations(range(3), 2):
        for a, b in itertools.product(range(1, shape[first]), range(1, shape[second])):
            chosen = {first: difference(shape[first], a), second: difference(shape[second], b)}
            rows.append((of.contrast(weights_of(shape, chosen)), f"`{of.levels[first][a]}` x `{of.levels[second][b]}`"))
    rows.sort(key=lambda row: -abs(row[0][0]))
    return [[name, f"{mean:+.2f}", f"± {seeds:.2f}", f"± {images:.2f}"] for (mean, seeds, images), name in rows]


def crossed(of: Study, first: int, second: int) -> str:
    """Mean accuracies of two axes over the third and the seeds."""
    cells = np.moveaxis(of.metrics["accuracy"], (first, second), (0, 1)).mean(axis=(2, 3)) * 100
    rows = [[f"`{name}`", *(f"{value:.2f}" for value in line)] for name, line in zip(of.levels[first], cells, strict=True)]
    return table([f"{AXES[first]} / {AXES[second]}", *(f"`{name}`" for name in of.levels[second])], rows)


def compositions(of: Study) -> list[dict[str, str]]:
    """A row a composition: means over the seeds, and the intervals of its accuracy."""
    rows = []
    for place in itertools.product(*(range(len(names)) for names in of.levels)):
        alone = np.zeros(tuple(map(len, of.levels)))
        alone[place] = 1
        _, seeds, images = of.contrast(alone)
        scaled: dict[str, Callable[[float], str]] = {
            name: (lambda v: f"{100 * v:.2f}") if name in METRICS[:4] else (lambda v: f"{v:.3f}") for name in METRICS
        }
        values = {name: scaled[name](float(of.metrics[name][place].mean())) for name in METRICS}
        named = {axis: names[level] for axis, names, level in zip(AXES, of.levels, place, strict=True)}
        rows.append(named | values | {"over_seeds": f"{seeds:.2f}", "over_images": f"{images:.2f}"})
    return sorted(rows, key=lambda row: -float(row["accuracy"]))


def markdown(of: Study, rows: list[dict[str, str]], command: str) -> str:
    """The tables as a page."""
    best = [[f"`{row[axis]}`" for axis in AXES] + [row[name] for name in METRICS] for row in (*rows[:8], *rows[-4:])]
    said = shares(of.metrics["accuracy"].mean(-1))
    parts = [
        f"# Slots: {' x '.join(AXES)}, seeds {', '.join(map(str, of.seeds))}",
        f"Made by\n\n    lt-bench bench slots --results results/slots --workers 1 --accelerator cpu\n    {command}",
        "Main effects: means over all combinations of the other slots, and the difference from the first entry, in points; alone is that difference where the other "
        "slots have their first entries. ±: half-widths of 95 % intervals, over seeds / over test images.",
        table(["slot", "entry", "accuracy", "many", "medium", "few", "difference", "alone"], list(effects(of))),
        "Shares of the sum of squares of the mean accuracies of the compositions: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in said.items()) + ".",
        *(crossed(of, *axes) for axes in itertools.combinations(range(3), 2)),
        "Interactions, the twelve largest: what two entries do together beyond the sum of both, from the first levels of their slots, in points.",
        table(["entries", "difference", "over seeds", "over images"], interactions(of)[:12]),
        "The eight best and the four worst of the compositions; all are in the CSV. Which is best was read off the test set, so it is no choice to report.",
        table([*AXES, *METRICS], best),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the records, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    of = study(load_records(options.results))
    rows = compositions(of)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(options.out.with_suffix(".csv"), text.getvalue())
    out = options.out.resolve()
    shown = out.relative_to(ROOT) if out.is_relative_to(ROOT) else out
    write_text(options.out.with_suffix(".md"), markdown(of, rows, f"python benchmarks/slots.py --results results/slots --out {shown}"))


if __name__ == "__main__":
    main()
