"""The path of LOS in the findings beside the board that it is read from."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "1 epoch": (1, 0.98, 0.0005),
    "2 epochs": (2, 0.98, 0.0005),
    "5 epochs": (5, 0.98, 0.0005),
    "10 epochs": (10, 0.98, 0.0005),
    "20 epochs (official)": None,
    "40 epochs": (40, 0.98, 0.0005),
    "80 epochs": (80, 0.98, 0.0005),
    "20 epochs, lr 5e-5": (20, 0.98, 5e-05),
    "20 epochs, lr 5e-3": (20, 0.98, 0.005),
    "20 epochs, lr 5e-2": (20, 0.98, 0.05),
    "epsilon 0 (plain cross-entropy)": (20, 0.0, 0.0005),
    **{str(epsilon): (20, epsilon, 0.0005) for epsilon in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)},
    "0.98 (official)": None,
}


def rows(text: str) -> dict[str, list[str]]:
    """Cells of the rows of Markdown tables by their first."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    return {first: cells for first, *cells in lines}


@pytest.fixture(scope="module")
def boards():
    text = (ROOT / "benchmarks" / "results" / "los-study" / "LEADERBOARD.md").read_text(encoding="utf-8")
    return {name: rows(section) for section in text.split("\n## ") for name in ("resnet10s2", "resnet32") if f", {name} cache" in section}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_row_of_the_findings_is_that_of_its_board(boards, name):
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    cells = rows(text.partition("### The whole path")[2].partition("\n### ")[0])[name]
    setting = SETTINGS[name]
    label = "los" if setting is None else "los (user) [epochs={}, epsilon={}, lr={}]".format(*setting)
    for board, at in (("resnet10s2", 0), ("resnet32", len(cells) - 4)):
        accuracy, *groups = (float(cell.strip("*<u>/").split(" ")[0]) for cell in boards[board][label][1:5])
        assert float(cells[at]) == accuracy
        assert [float(cell) for cell in cells[at + 1 : at + 4]] == pytest.approx(groups, abs=0.051)
