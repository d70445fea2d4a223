"""README.md and boards.png of the protocol's tables, which ``judge`` writes: ``python -m benchmarks.ours.page --out benchmarks/ours/results``."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from benchmarks.ours.boards import BOARDS, Board
from benchmarks.ours.rivals import OURS, REFERENCES, RIVALS
from lt_bench.core.files import write_atomic, write_text

Frame = Any  # a pandas.DataFrame, whose hints call each selection a series or a frame
ACROSS = 3  # panels of the figure
SHOWN = {"compose": "joint + match_prior"}


def with_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and half-width of Student's 95 % interval over units (n,); NaN of one."""
    n = len(values)
    half = float(stdtrit(n - 1, 0.975)) * float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return float(values.mean()), half


def shown(name: str) -> str:
    """Name of a strategy in tables."""
    return f"`{SHOWN.get(name, name)}`"


def lacking(of: Frame) -> list[str]:
    """Strategies of the protocol that a board has no result of."""
    return [name for name in REFERENCES | RIVALS | OURS if name not in set(of["strategy"])]


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    rule = "|---|" + "--:|" * (len(heads) - 1)
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)])


def board_section(board: Board, of: Frame, gaps: Frame) -> str:
    """All strategies of a board, then each of ours against the best rival."""
    lines = []
    for row in of.to_dict("records"):
        spread = "" if math.isnan(row["seeds"]) else f"{row['seeds']:.2f}"
        groups = " / ".join("–" if math.isnan(row[part]) else f"{row[part]:.1f}" for part in ("many", "medium", "few"))  # noqa: RUF001 - no classes
        point = ", ".join(f"{key} {value}" for key, value in json.loads(row["point"]).items())
        name = f"**{shown(row['strategy'])}**" if row["side"] == "ours" else shown(row["strategy"])
        intervals = [f"± {row['images']:.2f}", f"± {row['classes']:.2f}"]
        lines.append([name, f"{row['validation']:.2f}", f"{row['test']:.2f}", *intervals, spread, groups, point])
    body = table(["strategy", "validation", "test", "images", "classes", "SD of seeds", "many / medium / few", "chosen"], lines)
    if absent := lacking(of):
        return f"## {board.words}\n\nNot complete, and in no comparison: {', '.join(map(shown, absent))} not run yet.\n\n{body}"
    said = [f"{shown(gap['strategy'])} {gap['gap']:+.2f} (± {gap['images']:.2f} over images, ± {gap['classes']:.2f} over classes)" for gap in gaps.to_dict("records")]  # fmt: skip
    return f"## {board.words}\n\n{body}\n\nLess the best rival, {shown(gaps['rival'].iloc[0])}: {'; '.join(said)}."


def verdict(test: Frame) -> str:
    """Mean differences of ours over boards, with boards as units: to the best rival of each board, and to each rival. `test` has a line a board and a column a strategy."""
    lines = []
    rivals = {"best rival": test[list(RIVALS)].max(axis=1)} | {shown(name): test[name] for name in RIVALS}
    for name in OURS:
        for rival, accuracy in rivals.items():
            gaps = (test[name] - accuracy).to_numpy()
            mean, half = with_interval(gaps)
            interval = "one board" if math.isnan(half) else f"± {half:.2f}"
            won = f"{(gaps > 0).sum()} of {len(gaps)}"
            lines.append([shown(name), rival, f"{mean:+.2f}", interval, won, f"{gaps.min():+.2f} to {gaps.max():+.2f}"])
    return table(["ours", "less", "mean over boards", "95 %", "boards ahead", "range"], lines)


def draw(path: Path, by_board: dict[Board, Frame]) -> None:
    """Test accuracies with intervals over images and over classes, a panel a board."""
    from matplotlib.figure import Figure

    from lt_bench.leaderboard.plots.style import COLOURS, look

    colours = {"ours": COLOURS[1], "rival": COLOURS[0], "reference": COLOURS[6]}
    with look():
        down = math.ceil(len(by_board) / ACROSS)
        drawing = Figure(figsize=(4.0 * ACROSS, 3.6 * down), layout="constrained")
        panels = drawing.subplots(down, ACROSS, squeeze=False).ravel()
        for axes in panels[len(by_board) :]:
            axes.set_axis_off()
        for (board, of), axes in zip(by_board.items(), panels, strict=False):
            for place, row in enumerate(reversed(of.to_dict("records"))):
                colour = colours[row["side"]]
                axes.errorbar(row["test"], place, xerr=row["classes"], color=colour, alpha=0.3, linewidth=1)
                axes.errorbar(row["test"], place, xerr=row["images"], fmt="o", color=colour, linewidth=2)
            axes.set_yticks(range(len(of)), [str(SHOWN.get(name, name)) for name in reversed(of["strategy"].tolist())], fontsize=7)
            axes.set_title(board.words.replace(", ", ",\n", 1), fontsize=8)
            axes.set_xlabel("macro accuracy, %", fontsize=8)
        write_atomic(path, lambda file: drawing.savefig(file, format="png", dpi=110))


def text(by_board: dict[Board, Frame], gaps: Frame) -> str:
    """README.md of the results."""
    missing = [board.words for board in BOARDS if board not in by_board]
    complete = [of for of in by_board.values() if not lacking(of)]
    parts = [
        "# The protocol, run",
        "Made by `python -m benchmarks.ours.protocol` and `python -m benchmarks.ours.judge`; ../README.md has the protocol. Macro accuracies in per cent, ± half-widths of 95 % "
        "intervals: over test images within their classes, and over classes as a sample of classes. Bold: ours. Points were chosen by macro accuracy on validation, two seeds a "
        "point; the column of validation is of the three seeds that test was read with. Plankton's test set is as imbalanced as its training set, so macro accuracy is not the share of images there.",
        "![Test accuracies by board](boards.png)",
        "## Over boards",
        f"Boards as units, {len(complete)} of them complete; Student's interval. They are fewer than an interval wants, and not independent: those of CIFAR-100-LT share their test images.",
        verdict(pd.concat(complete).pivot(index="board", columns="strategy", values="test")) if complete else "No board is complete.",
        *([f"Not there: {'; '.join(missing)}."] if missing else []),
        *(board_section(board, of, gaps[gaps["board"] == board.name]) for board, of in by_board.items()),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def write_page(out: Path) -> None:
    """Write both files from the tables in a folder."""
    strategies, gaps = pd.read_csv(out / "strategies.csv"), pd.read_csv(out / "gaps.csv")
    by_board = {board: of for board in BOARDS if len(of := strategies[strategies["board"] == board.name])}
    draw(out / "boards.png", by_board)
    write_text(out / "README.md", text(by_board, gaps))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    write_page(parser.parse_args().out)
