"""Budget curves as a table in the terminal, in Markdown and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lt_bench.core.errors import printable
from lt_bench.leaderboard.choice.budgets import Points, first_on_test
from lt_bench.leaderboard.objective.objective import Objective
from lt_bench.leaderboard.tables.text import csv_text, escape, markdown_lines

USUAL = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Budgets that tables show; the CSV file and the picture have all of them."""
MARKDOWN_HEAD = "# Tuning budgets"
CSV_HEAD = ["strategy", "grid", "budget", "expected_test", "deviation", "first_on_test"]


def shown(largest: int) -> list[int]:
    """The budgets of a table: the usual ones below 0.8 of the largest, and the largest."""
    return [*(budget for budget in USUAL if budget < 0.8 * largest), largest]


def number(value: float, objective: Objective) -> str:
    """An accuracy in %, a cost as it is."""
    return f"{value:.4g}" if objective.lower else f"{100 * value:.2f}"


def title(cache: str, objective: Objective) -> str:
    """Title of a table: cache, figure and unit of its numbers."""
    unit = "" if objective.lower else " %"
    return f"{cache}: expected test {objective.metric.replace('_', ' ')}{unit} of the best on validation of n random points (an analysis: test chooses nothing)"


def rows(of: Sequence[Points], budgets: Sequence[int], objective: Objective) -> list[list[str]]:
    """A line for each strategy, the best at the largest budget first: its name, points, a figure for each budget, and how often its choice is the best on test at the largest."""
    first = first_on_test(of, budgets[-1], lower=objective.lower)
    order = sorted(range(len(of)), key=lambda place: (1 if objective.lower else -1) * of[place].expected(budgets[-1]))
    return [
        [
            of[place].strategy,
            str(len(of[place])),
            *(number(of[place].expected(n), objective) for n in budgets),
            f"{100 * first[place]:.0f} %",
        ]
        for place in order
    ]


def heads(budgets: Sequence[int]) -> list[str]:
    """The heads of the columns of `rows`."""
    return ["Strategy", "Grid", *(f"n = {n}" for n in budgets), f"First at {budgets[-1]}"]


def budget_table(of: Sequence[Points], largest: int, objective: Objective, cache: str) -> Table:
    """The table for the terminal."""
    table = Table(title=title(cache, objective), box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    budgets = shown(largest)
    for place, head in enumerate(heads(budgets)):
        table.add_column(head, justify="right" if place else "left", no_wrap=place > 0, overflow="fold")
    for line in rows(of, budgets, objective):
        table.add_row(*(Text(printable(cell)) for cell in line))
    return table


def budget_markdown(of: Sequence[Points], largest: int, objective: Objective, cache: str, note: str = "") -> str:
    """The same in Markdown, with a note below."""
    budgets = shown(largest)
    table = markdown_lines(heads(budgets), ["---", *["--:"] * (len(budgets) + 2)], rows(of, budgets, objective))
    below = f"\n{escape(note)}\n" if note else ""
    return f"{MARKDOWN_HEAD}\n\n{escape(title(cache, objective))}\n\n{table}\n{below}"


def budget_csv(of: Sequence[Points], largest: int, objective: Objective) -> str:
    """A line for each strategy and budget: figures in %, costs as they are; the deviation is over random budgets, first_on_test a share."""
    factor, lines = 1 if objective.lower else 100, []
    for budget in range(1, largest + 1):
        first = first_on_test(of, budget, lower=objective.lower)
        for one, share in zip(of, first, strict=True):
            figures = (factor * one.expected(budget), factor * one.deviation(budget))
            lines.append([one.strategy, len(one), budget, *(f"{value:.6g}" for value in figures), f"{share:.4g}"])
    return csv_text([CSV_HEAD, *lines])


def budget_data(of: Sequence[Points], largest: int, objective: Objective) -> dict[str, Any]:
    """The curves as plain JSON values, a value for each budget: accuracies and their deviations as fractions, and how often the choice is the best on test."""
    budgets = range(1, largest + 1)
    first = [first_on_test(of, n, lower=objective.lower) for n in budgets]
    curves = [
        {
            "strategy": one.strategy,
            "grid": len(one),
            "expected_test": [one.expected(n) for n in budgets],
            "deviation": [one.deviation(n) for n in budgets],
            "first_on_test": [shares[place] for shares in first],
        }
        for place, one in enumerate(of)
    ]
    return {"objective": objective.identity, "budgets": list(budgets), "curves": curves}
