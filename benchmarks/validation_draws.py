"""Worth of a choice of hyper-parameters with fewer and long-tailed validation images: the test accuracy of what each draw chooses.

    python -m benchmarks.validation_draws benchmarks/results/grid-points --draws 200

reads what ``benchmarks.grid_points`` fitted and writes DRAWS.md beside it. Every point is fitted once; a draw chooses by macro accuracy, which weights classes the same however few
images of them are drawn, or by shots, which gives the weight of classes without images to those of their group. The test images choose nothing: they measure what was chosen.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.grid_points import Points, read_points
from lt_bench.bench.validation import Validation
from lt_bench.core.files import write_text

SETTINGS = {
    "all": (Validation(), "macro"),
    "balanced, 250": (Validation(250, "balanced"), "macro"),
    "long-tailed, 250": (Validation(250, "long-tailed"), "macro"),
    "the same, shots": (Validation(250, "long-tailed"), "shots"),
    "balanced, 100": (Validation(100, "balanced"), "macro"),
}
"""Validation images, and the objective that chooses on them."""


def chosen(points: Points, validation: Validation, by: str, draws: int) -> NDArray[np.float64]:
    """Test accuracies (draws,) in per cent of the point that each draw chooses, the first of equal ones."""
    drawn = Validation(validation.size, validation.profile, 1 if validation.size is None else draws)
    rows = drawn.rows(points.labels, points.train_counts.tolist())
    return np.array([100 * points.test[np.round(points.scores(of_draw, by), 9).argmax()] for of_draw in rows])


def first_of(accuracies: dict[str, NDArray[np.float64]]) -> dict[str, float]:
    """Share of draws in which each strategy's choice is the best on test; draws are paired over strategies, and ties are shared."""
    values = np.stack(list(accuracies.values()))
    best = values == values.max(0)
    return dict(zip(accuracies, (best / best.sum(0)).mean(1), strict=True))


def report(of: list[Points], draws: int) -> str:
    """The table in Markdown."""
    lines = [f"| strategy | points | {' | '.join(SETTINGS)} |", f"|---|--:|{'--:|' * len(SETTINGS)}"]
    tables = {name: {one.strategy: chosen(one, *setting, draws) for one in of} for name, setting in SETTINGS.items()}
    shares = {name: first_of(table) for name, table in tables.items()}
    for one in sorted(of, key=lambda one: -float(np.mean(tables["all"][one.strategy]))):
        cells = []
        for name, table in tables.items():
            values = table[one.strategy]
            spread = f" ± {statistics.stdev(values):.2f}, first {100 * shares[name][one.strategy]:.0f} %" if len(values) > 1 else ""
            cells.append(f"{values.mean():.2f}{spread}")
        lines.append(f"| `{one.strategy}` | {len(one.points)} | {' | '.join(cells)} |")
    head = (
        "# The worth of validation\n\nMade by `python -m benchmarks.validation_draws`. Test accuracy in per cent of the point that validation chooses, mean ± standard deviation over "
        f"{draws} draws (the first\nwithout, the others with replacement), and in how many draws a strategy's choice is the best of the table. One head seed a point; `all` are the {len(of[0].labels):,} validation images, "
        "up to 20 a class.\n\n"
    )
    return head + "\n".join(lines) + "\n"


def write_report(about: str | None, name: str, report: Callable[[list[Points], int], str]) -> None:
    """Run the command of a validation study: read the points in the given folder, write the report over the given number of draws there, and print it."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path, help="folder of benchmarks.grid_points")
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    text = report([read_points(path) for path in sorted(options.points.glob("*.npz"))], options.draws)
    write_text(options.points / name, text)
    print(text)


if __name__ == "__main__":
    write_report(__doc__, "DRAWS.md", report)
