"""Equal tuning budgets: the expected test accuracy of the best of n random points of each grid, and which strategy comes first.

    python -m benchmarks.tuning_budgets benchmarks/results/grid-points

reads what ``benchmarks.grid_points`` fitted and writes BUDGETS.md, budgets.png and budgets.svg beside it. Of n points drawn without replacement, the one of rank r by validation is the
best with probability C(P - r, n - 1) / C(P, n); no sampling is needed. A grid of fewer than n points is tried whole.
"""

from __future__ import annotations

import argparse
from math import comb
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.grid_points import Points, read_points
from lt_bench.core.files import write_text

BUDGETS = (1, 2, 5, 10, 20, 50, 100)


def ranked(points: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Validation and test accuracies (P,), in per cent, the best on validation first; of equal ones the first in the grid."""
    validation = points.scores(np.arange(len(points.labels)))
    order = np.argsort(-np.round(validation, 9), kind="stable")
    return 100 * validation[order], 100 * points.test[order]


def probabilities(points: int, budget: int) -> NDArray[np.float64]:
    """(P,) probability that the point of each rank is the best of ``budget`` different points drawn at random."""
    n = min(budget, points)
    return np.array([comb(points - rank, n - 1) / comb(points, n) for rank in range(1, points + 1)])


def expected(points: Points, budget: int) -> float:
    """Expected test accuracy, in per cent, of the best point on validation of a random budget."""
    return float(probabilities(len(points.points), budget) @ ranked(points)[1])


def first_on_test(of: list[Points], budget: int) -> dict[str, float]:
    """Probability that what a strategy's random budget chooses on validation has the highest test accuracy of all."""
    laws = [(ranked(one)[1], probabilities(len(one.points), budget)) for one in of]
    result = {}
    for mine, one in enumerate(of):
        values, chance = laws[mine]
        below = np.ones(len(values))
        for other, (theirs, weights) in enumerate(laws):
            if other != mine:
                beaten = theirs[None] <= values[:, None] if other > mine else theirs[None] < values[:, None]
                below *= beaten @ weights
        result[one.strategy] = float(chance @ below)
    return result


def report(of: list[Points]) -> str:
    """The table in Markdown."""
    head = f"| strategy | grid | {' | '.join(f'n = {budget}' for budget in BUDGETS)} | first at 5 | first at 20 |"
    lines = [head, f"|---|--:|{'--:|' * (len(BUDGETS) + 2)}"]
    first = [first_on_test(of, budget) for budget in (5, 20)]
    for one in sorted(of, key=lambda one: -expected(one, 5)):
        values = [f"{expected(one, budget):.2f}" for budget in BUDGETS]
        shares = [f"{100 * share[one.strategy]:.0f} %" for share in first]
        lines.append(f"| `{one.strategy}` | {len(one.points)} | {' | '.join([*values, *shares])} |")
    about = (
        "# Equal tuning budgets\n\nMade by `python -m benchmarks.tuning_budgets`. Expected test accuracy in per cent of the best on validation of n random points of a strategy's grid (of smaller grids all points), "
        "and the\nprobability that a strategy's choice is the best of the table on test.\n\n"
    )
    return about + "\n".join(lines) + "\n"


def draw(of: list[Points], stem: Path) -> None:
    """Expected test accuracy against the budget, a line a strategy, as SVG and PNG."""
    from lt_bench.leaderboard.plots.style import COLOURS, MARKERS, figure, legend, look, save

    with look():
        drawing, (axes,) = figure()
        shown = sorted((one for one in of if len(one.points) > 1), key=lambda one: -expected(one, 20))[: len(COLOURS)]
        for index, one in enumerate(shown):
            budgets = np.unique(np.geomspace(1, len(one.points), 40).round().astype(int))
            values = [expected(one, int(budget)) for budget in budgets]
            axes.plot(budgets, values, color=COLOURS[index], marker=MARKERS[index], markevery=6, label=one.strategy)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("points tried at random")
        axes.set_ylabel("expected test accuracy, %")
        legend(drawing, axes, 3)
        save(drawing, stem)


def main() -> None:
    """Write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path, help="folder of benchmarks.grid_points")
    options = parser.parse_args()
    of = [read_points(path) for path in sorted(options.points.glob("*.npz"))]
    text = report(of)
    write_text(options.points / "BUDGETS.md", text)
    draw(of, options.points / "budgets")
    print(text)


if __name__ == "__main__":
    main()
