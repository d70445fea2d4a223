"""Equal tuning budgets: the expected test accuracy of the best of n random points of each grid, and which strategy comes first.

    python -m benchmarks.tuning_budgets benchmarks/results/grid-points

reads what ``benchmarks.grid_points`` fitted and writes BUDGETS.md, budgets.png, budgets.svg and budgets.pdf beside it. `lt-bench budgets` fits and draws the same on any cache; the closed form is
``lt_bench.leaderboard.choice.budgets``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks import grid_points
from lt_bench.core.files import write_text
from lt_bench.leaderboard.choice.budgets import Points, first_on_test
from lt_bench.leaderboard.objective.objective import MICRO
from lt_bench.leaderboard.plots.budgets import draw_budgets

BUDGETS = (1, 2, 5, 10, 20, 50, 100)


def ranked(points: grid_points.Points) -> Points:
    """The points of a grid ranked by macro accuracy on all validation images, with their test accuracies."""
    return Points.of(points.strategy, points.scores(np.arange(len(points.labels))), points.test)


def report(of: list[Points]) -> str:
    """The table in Markdown."""
    head = f"| strategy | grid | {' | '.join(f'n = {budget}' for budget in BUDGETS)} | first at 5 | first at 20 |"
    lines = [head, f"|---|--:|{'--:|' * (len(BUDGETS) + 2)}"]
    first = [first_on_test(of, budget) for budget in (5, 20)]
    for place in sorted(range(len(of)), key=lambda place: -of[place].expected(5)):
        one = of[place]
        cells = [*(f"{100 * one.expected(budget):.2f}" for budget in BUDGETS), *(f"{100 * shares[place]:.0f} %" for shares in first)]
        lines.append(f"| `{one.strategy}` | {len(one)} | {' | '.join(cells)} |")
    about = (
        "# Equal tuning budgets\n\nMade by `python -m benchmarks.tuning_budgets`. Expected test accuracy in per cent of the best on validation of n random points of a strategy's grid (of smaller grids all points), "
        "and the\nprobability that a strategy's choice is the best of the table on test.\n\n"
    )
    return about + "\n".join(lines) + "\n"


def main() -> None:
    """Write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path, help="folder of benchmarks.grid_points")
    options = parser.parse_args()
    of = [ranked(grid_points.read_points(path)) for path in sorted(options.points.glob("*.npz"))]
    text = report(of)
    write_text(options.points / "BUDGETS.md", text)
    drawn = sorted((one for one in of if len(one) > 1), key=lambda one: -one.expected(20))
    draw_budgets(drawn, max(map(len, drawn)), MICRO, options.points / "budgets")
    print(text)


if __name__ == "__main__":
    main()
