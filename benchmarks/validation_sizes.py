"""Worth of more validation images: the test accuracy of what validation sets of several sizes and profiles choose, from a cache with every unseen image.

    python -m benchmarks.validation_sizes benchmarks/results/grid-points-unseen --draws 200

reads what ``benchmarks.grid_points`` fitted on a cache of ``lt-bench extract --val-per-class all`` and writes SIZES.md beside it. Every point is fitted once. A draw has of each class as
many images as the set, taken with replacement from all that the class has, as fresh images would differ; it chooses by macro accuracy. The test images choose nothing: they measure what was chosen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.grid_points import Points
from benchmarks.validation_draws import write_report
from lt_bench.bench.validation import Validation
from lt_bench.core.names import span

PER_CLASS = (1, 5, 10, 20, 50, None)
"""Images of each class, where it has as many; None: all."""
LONG_TAILED = (250, 490)
"""Images in proportion to the training images, of the classes that have any."""

Numbers = NDArray[np.int64]


def settings(points: Points) -> dict[str, Numbers]:
    """Numbers of images (K,) of each class, for every validation set by name.

    Raises:
        UserError: a class has too few images for a long tail.
    """
    there = np.bincount(points.labels, minlength=len(points.train_counts))
    balanced = {
        "all" if most is None else f"up to {most} a class": there if most is None else np.minimum(there, most) for most in PER_CLASS
    }
    counts = points.train_counts.tolist()
    tails = {size: Validation(size, "long-tailed").deciding(points.labels, counts) for size in LONG_TAILED}
    return balanced | {f"long-tailed, {size}": np.bincount(points.labels[rows], minlength=len(there)) for size, rows in tails.items()}


def chosen(points: Points, counts: Numbers, draws: int) -> NDArray[np.float64]:
    """Test accuracies (draws,) in per cent of the point that each validation set with ``counts`` (K,) images chooses, the first of equal ones."""
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
        "# The worth of more validation images\n\nMade by `python -m benchmarks.validation_sizes`. Test accuracy in per cent of the point that validation chooses, mean ± standard deviation over "
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


if __name__ == "__main__":
    write_report(__doc__, "SIZES.md", report)
