"""Tables, figure and verdict of the protocol: ``python -m benchmarks.ours.judge --results DIR --out benchmarks/ours/results``.

Writes runs.csv (a line for every head that test was read with), points.csv (every point that was tuned, by validation alone), README.md and boards.png. Accuracy is
macro accuracy: the mean over the classes that have test images, which on CIFAR's balanced test set is the share of images.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from benchmarks.ours.boards import BOARDS, MISSING, Board
from benchmarks.ours.rivals import OURS, REFERENCES, RIVALS, points
from lt_bench.bench.tuned import read_tuning
from lt_bench.core.files import write_atomic, write_text
from lt_bench.leaderboard.boards import BoardRows, Row, boards
from lt_bench.leaderboard.load import load_records
from lt_bench.leaderboard.objective.objective import MACRO
from lt_bench.leaderboard.stats.design import Design
from lt_bench.leaderboard.stats.shares import student_intervals
from lt_bench.leaderboard.stats.statistics import checked_predictions, class_accuracy

Numbers = NDArray[np.float64]
SHOWN = {"compose": "joint + match_prior"}
PARTS = ("many", "medium", "few")


@dataclass(frozen=True, eq=False)
class Result:
    """A strategy on a board.

    Attributes:
        row: its runs.
        worth: (N,) share of the seeds that are right on each test image.
        classes: (C,) accuracy of each class that has test images.
        design: of the test images.
    """

    row: Row
    worth: Numbers
    classes: Numbers
    design: Design

    @property
    def strategy(self) -> str:
        """Name of the strategy."""
        return str(self.row.text("strategy"))

    @property
    def mean(self) -> float:
        """Macro accuracy, per cent."""
        return 100 * float(self.classes.mean())

    def over(self, other: Result | None = None) -> tuple[float, float, float]:
        """Accuracy, or its difference to that of another, in points, with half-widths of 95 % intervals over images (within their classes) and over classes."""
        worth = self.worth - (0 if other is None else other.worth)
        ((low, high),) = student_intervals(worth[None], self.design)
        mean, half = with_interval(100 * (self.classes - (0 if other is None else other.classes)))
        return mean, 50 * (high - low), half


def with_interval(values: Numbers) -> tuple[float, float]:
    """Mean and half-width of Student's 95 % interval over units (n,); NaN of one."""
    n = len(values)
    half = float(stdtrit(n - 1, 0.975)) * float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return float(values.mean()), half


def results_of(rows: BoardRows) -> dict[str, Result]:
    """The strategies of a board by name, the best first.

    Raises:
        ValueError: one has several rows, of other code or points.
    """
    labels = rows.rows[0].runs.array(int(rows.rows[0].positions[0]), "test_labels")
    K = len(rows.rows[0].split.class_names)
    counts, design = np.bincount(labels, minlength=K), Design.of(MACRO, labels, K)
    results: dict[str, Result] = {}
    for row in rows.rows:
        predictions = checked_predictions(row, labels)
        result = Result(
            row, (predictions == labels).mean(0, dtype=np.float64), class_accuracy(predictions, labels, counts)[counts > 0], design
        )
        if result.strategy in results:
            raise ValueError(f"{rows.title}: {result.strategy} has several rows; leave the records of one in the results")
        results[result.strategy] = result
    return results


def shown(name: str) -> str:
    """Name of a strategy in tables."""
    return f"`{SHOWN.get(name, name)}`"


def point_of(result: Result) -> dict[str, Any]:
    """The hyper-parameters of a row that were chosen; none where there was one point."""
    grid = (OURS | RIVALS).get(result.strategy, {})
    return {} if len(points(grid)) == 1 else {name: value for name, value in result.row.hyperparameters.items() if name in grid}


def lacking(results: dict[str, Result]) -> list[str]:
    """Strategies of the protocol that a board has no result of."""
    return [name for name in REFERENCES | RIVALS | OURS if name not in results]


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    rule = "|---|" + "--:|" * (len(heads) - 1)
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)])


def board_section(board: Board, results: dict[str, Result]) -> str:
    """All strategies of a board, then each of ours against the best rival."""
    lines = []
    for name, result in results.items():
        mean, images, classes = result.over()
        groups = " / ".join(f"{100 * np.nanmean(result.row.values(f'test/{part}')):.1f}" for part in PARTS)
        spread = f"{100 * result.row.scores.std(ddof=1):.2f}" if result.row.varies and len(result.row.scores) > 1 else ""
        point = ", ".join(f"{key} {value}" for key, value in point_of(result).items())
        val = f"{100 * result.row.values('val/macro_accuracy').mean():.2f}"
        bold = f"**{shown(name)}**" if name in OURS else shown(name)
        lines.append([bold, val, f"{mean:.2f}", f"± {images:.2f}", f"± {classes:.2f}", spread, groups, point])
    heads = ["strategy", "validation", "test", "images", "classes", "SD of seeds", "many / medium / few", "chosen"]
    title = f"## {board.words}\n\n"
    if absent := lacking(results):
        return f"{title}Not complete, and in no comparison: {', '.join(map(shown, absent))} not run yet.\n\n{table(heads, lines)}"
    best = best_rival(results)
    gaps = [
        f"{shown(name)} {mean:+.2f} (± {images:.2f} over images, ± {classes:.2f} over classes)"
        for name in OURS
        if name in results
        for mean, images, classes in [results[name].over(results[best])]
    ]
    return f"{title}{table(heads, lines)}\n\nLess the best rival, {shown(best)}: {'; '.join(gaps)}."


def best_rival(results: dict[str, Result]) -> str:
    """The rival with the best test accuracy: as test has chosen it, the comparison is hard on ours."""
    return max((name for name in results if name in RIVALS), key=lambda name: results[name].mean)


def verdict(by_board: dict[Board, dict[str, Result]]) -> str:
    """Mean differences of ours over complete boards, with boards as units: to the best rival of each board, and to each rival."""
    lines = []
    for name in OURS:
        of = list(by_board.values())
        pairs: dict[str, list[float]] = {"best rival": [results[name].mean - results[best_rival(results)].mean for results in of]}
        for rival in RIVALS:
            pairs[rival] = [results[name].mean - results[rival].mean for results in of]
        for rival, gaps in pairs.items():
            mean, half = with_interval(np.array(gaps))
            won = f"{sum(gap > 0 for gap in gaps)} of {len(gaps)}"
            text = rival if rival == "best rival" else shown(rival)
            interval = "one board" if math.isnan(half) else f"± {half:.2f}"
            lines.append([shown(name), text, f"{mean:+.2f}", interval, won, f"{min(gaps):+.2f} to {max(gaps):+.2f}"])
    return table(["ours", "less", "mean over boards", "95 %", "boards ahead", "range"], lines)


def write_runs(path: Path, by_board: dict[Board, dict[str, Result]]) -> None:
    """A line a run."""
    names = ["test/macro_accuracy", "test/accuracy", *(f"test/{part}" for part in PARTS), "val/macro_accuracy"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["board", "cache_key", "strategy", "side", "point", "seed", *names, "fit_s", "code", "record", "tuning"])
        for board, results in by_board.items():
            for name, result in results.items():
                side = "ours" if name in OURS else "rival" if name in RIVALS else "reference"
                for position in result.row.positions:
                    of = {key: column[position] for key, column in result.row.runs.columns.items()}
                    values = [f"{of[key]:.6f}" for key in names]
                    ids = [of["code"], of["id"], of["tuning_id"] or ""]
                    writer.writerow([board.name, of["cache_key"], name, side, json.dumps(point_of(result)), int(of["seed"]), *values, f"{of['fit_s']:.2f}", *ids])  # fmt: skip


def write_points(path: Path, tunings: Iterable[Path]) -> None:
    """A line a point that was tuned: its macro accuracy on validation with each seed, and what ruled it out."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["cache_key", "strategy", "point", "validation", "chosen", "repeats", "health", "tuning"])
        for one in sorted(tunings):
            document = read_tuning(one)
            for point in document["grid"]:
                values = " ".join(f"{value:.6f}" for value in point["macro_accuracy"])
                chosen = int(point["hyperparameters"] == document["choice"])
                said = [point.get("repeats", ""), " ".join(point.get("health", ()))]
                writer.writerow([document["cache_key"], document["strategy"], json.dumps(point["hyperparameters"]), values, chosen, *said, document["id"]])  # fmt: skip


def draw(path: Path, by_board: dict[Board, dict[str, Result]]) -> None:
    """Test accuracies with intervals over images and over classes, a panel a board."""
    from lt_bench.leaderboard.plots.style import COLOURS, figure, look

    with look():
        drawing, panels = figure(len(by_board), height=3.8)
        for (board, results), axes in zip(by_board.items(), panels, strict=True):
            for place, (name, result) in enumerate(reversed(results.items())):
                mean, images, classes = result.over()
                colour = COLOURS[1] if name in OURS else COLOURS[0] if name in RIVALS else COLOURS[6]
                axes.errorbar(mean, place, xerr=classes, color=colour, alpha=0.3, linewidth=1)
                axes.errorbar(mean, place, xerr=images, fmt="o", color=colour, linewidth=2)
            axes.set_yticks(range(len(results)), [SHOWN.get(name, name) for name in reversed(results)], fontsize=7)
            axes.set_title(board.words.replace(", ", ",\n", 1), fontsize=8)
            axes.set_xlabel("macro accuracy, %", fontsize=8)
        write_atomic(path, lambda file: drawing.savefig(file, format="png", dpi=110))


def page(by_board: dict[Board, dict[str, Result]]) -> str:
    """README.md of the results."""
    missing = [board.words for board in BOARDS if board not in by_board]
    complete = {board: results for board, results in by_board.items() if not lacking(results)}
    parts = [
        "# The protocol, run",
        "Made by `python -m benchmarks.ours.protocol` and `python -m benchmarks.ours.judge`; ../README.md has the protocol. Macro accuracies in per cent, ± half-widths of 95 % "
        "intervals: over test images within their classes, and over classes as a sample of classes. Bold: ours. Points were chosen by macro accuracy on validation, two seeds a "
        "point; the column of validation is of the three seeds that test was read with. Plankton's test set is as imbalanced as its training set, so macro accuracy is not the share of images there.",
        "![Test accuracies by board](boards.png)",
        "## Over boards",
        f"Boards as units, {len(complete)} of them complete; Student's interval. They are fewer than an interval wants, and not independent: those of CIFAR-100-LT share their test images.",
        verdict(complete) if complete else "No board is complete.",
        "Not there: " + "; ".join([*MISSING, *missing]) + ".",
        *(board_section(board, results) for board, results in by_board.items()),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the records, write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    by_cache = {rows.rows[0].text("cache_name"): rows for rows in boards(load_records(options.results), "macro")}
    by_board = {board: results_of(by_cache[board.name]) for board in BOARDS if board.name in by_cache}
    options.out.mkdir(parents=True, exist_ok=True)
    write_runs(options.out / "runs.csv", by_board)
    write_points(options.out / "points.csv", (options.results / "tuning").glob("*.json"))
    draw(options.out / "boards.png", by_board)
    write_text(options.out / "README.md", page(by_board))


if __name__ == "__main__":
    main()
