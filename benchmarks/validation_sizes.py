"""What more validation images buy: the test accuracy of what validation sets of several sizes and profiles choose, from a cache with every unseen image.

    python -m benchmarks.validation_sizes benchmarks/results/grid-points-unseen --draws 200

reads what ``benchmarks.grid_points`` fitted on a cache of ``lt-bench extract --val-per-class all`` and writes SIZES.md beside it. Every point is fitted once. A draw has of each class as
many images as the set, taken with replacement from all that the class has, as fresh images would differ; it chooses by macro accuracy. The test images choose nothing: they measure what was chosen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.grid_points import Points, read_points
from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.names import span

PER_CLASS = (1, 5, 10, 20, 50, None)
"""Images of each class, where it has as many; None: all."""
LONG_TAILED = (250, 490)
"""Images in proportion to the training images, of the classes that have any."""

Numbers = NDArray[np.int64]


def settings(points: Points) -> dict[str, Numbers]:
    """The images (K,) of each class of every validation set. Raises as ``long_tailed``."""
    there = np.bincount(points.labels, minlength=len(points.train_counts))
    balanced = {
        "all" if most is None else f"up to {most} a class": there if most is None else np.minimum(there, most) for most in PER_CLASS
    }
    return balanced | {f"long-tailed, {size}": long_tailed(size, points.train_counts, there) for size in LONG_TAILED}


def long_tailed(size: int, train_counts: Numbers, there: Numbers) -> Numbers:
    """The images (K,) of each class of a set that has the training set's proportions, of the classes that have any.

    Raises:
        UserError: a class has too few.
    """
    parts = size * np.where(there > 0, train_counts, 0) / train_counts[there > 0].sum()
    counts = np.floor(parts).astype(np.int64)
    counts[np.argsort(counts - parts, kind="stable")[: size - counts.sum()]] += 1
    if (counts > there).any():
        c = int((counts > there).argmax())
        raise UserError(
            f"{size} long-tailed images: class {c} has {there[c]} of {counts[c]}; make a cache with `lt-bench extract --val-per-class all`"
        )
    return counts


def chosen(points: Points, counts: Numbers, draws: int) -> NDArray[np.float64]:
    """(draws,) test accuracies, in per cent, of what validation sets with these images of each class choose; of equal points the first."""
    members = [np.flatnonzero(points.labels == c) for c in range(len(counts))]
    accuracies = np.empty(draws)
    for draw in range(draws):
        rng = np.random.default_rng([19, draw])
        rows = np.concatenate([rng.choice(of_class, n) for of_class, n in zip(members, counts, strict=True) if n])
        accuracies[draw] = 100 * points.test[np.round(points.scores(rows), 9).argmax()]
    return accuracies


def report(of: list[Points], draws: int) -> str:
    """The table in Markdown."""
    sets = settings(of[0])
    found = {name: {one.strategy: chosen(one, counts, draws) for one in of} for name, counts in sets.items()}
    head = (
        "# What more validation images buy\n\nMade by `python -m benchmarks.validation_sizes`. Test accuracy in per cent of the point that validation chooses, mean ± standard deviation over "
        f"{draws} draws with\nreplacement within classes; one head seed a point. The best point of each grid on test: "
        + ", ".join(f"`{one.strategy}` {100 * one.test.max():.2f} of {len(one.points)}" for one in of)
        + ".\n\n"
    )
    lines = [f"| validation | images | a class | {' | '.join(f'`{one.strategy}`' for one in of)} |", f"|---|--:|--:|{'--:|' * len(of)}"]
    for name, counts in sets.items():
        cells = [f"{values.mean():.2f} ± {values.std(ddof=1):.2f}" for values in found[name].values()]
        some = counts[counts > 0]
        lines.append(f"| {name} | {counts.sum():,} | {span(some.min(), some.max())} | {' | '.join(cells)} |")
    return head + "\n".join(lines) + "\n"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path, help="folder of benchmarks.grid_points")
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    text = report([read_points(path) for path in sorted(options.points.glob("*.npz"))], options.draws)
    write_text(options.points / "SIZES.md", text)
    print(text)


if __name__ == "__main__":
    main()
