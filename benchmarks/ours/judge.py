"""Measurements of the protocol, from records to tables: ``python -m benchmarks.ours.judge --results DIR --out benchmarks/ours/results``.

Writes runs.csv (a line for every head that test was read with), strategies.csv (a line for each strategy of a board), gaps.csv (ours less the best rival of the board) and
points.csv (every point that was tuned, by validation alone); then README.md and boards.png of them (``page``). Boards without records in DIR keep their lines.
Accuracy is macro accuracy: the mean over the classes that have test images, which on CIFAR's balanced test set is the share of images.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.ours.boards import BOARDS, Board
from benchmarks.ours.page import with_interval, write_page
from benchmarks.ours.rivals import OURS, RIVALS, points
from lt_bench.bench.tuned import read_tuning
from lt_bench.core.files import replacing
from lt_bench.leaderboard.boards import BoardRows, Row, boards
from lt_bench.leaderboard.load import load_records
from lt_bench.leaderboard.objective.objective import MACRO
from lt_bench.leaderboard.stats.design import Design
from lt_bench.leaderboard.stats.shares import student_intervals
from lt_bench.leaderboard.stats.statistics import checked_predictions, class_accuracy

Frame = Any  # a pandas.DataFrame, whose hints call each selection a series or a frame
Numbers = NDArray[np.float64]
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
    def side(self) -> str:
        """Its side in the comparison."""
        return "ours" if self.strategy in OURS else "rival" if self.strategy in RIVALS else "reference"

    @property
    def point(self) -> dict[str, Any]:
        """The hyper-parameters that were chosen; none where there was one point."""
        grid = (OURS | RIVALS).get(self.strategy, {})
        return {} if len(points(grid)) == 1 else {name: value for name, value in self.row.hyperparameters.items() if name in grid}

    def over(self, other: Result | None = None) -> tuple[float, float, float]:
        """Accuracy, or its difference to that of another, in points, with half-widths of 95 % intervals over images (within their classes) and over classes."""
        worth = self.worth - (0 if other is None else other.worth)
        ((low, high),) = student_intervals(worth[None], self.design)
        mean, half = with_interval(100 * (self.classes - (0 if other is None else other.classes)))
        return mean, 50 * (high - low), half


def results_of(rows: BoardRows) -> list[Result]:
    """The strategies of a board, the best first.

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
    return list(results.values())


def runs_table(board: Board, results: Iterable[Result]) -> Frame:
    """A line a run."""
    names = ["test/macro_accuracy", "test/accuracy", *(f"test/{part}" for part in PARTS), "val/macro_accuracy"]
    lines = []
    for result in results:
        for position in result.row.positions:
            of = {key: column[position] for key, column in result.row.runs.columns.items()}
            line = {"board": board.name, "cache_key": of["cache_key"], "strategy": result.strategy, "side": result.side}
            line |= {"point": json.dumps(result.point), "seed": int(of["seed"])} | {name: f"{of[name]:.6f}" for name in names}
            lines.append(line | {"fit_s": f"{of['fit_s']:.2f}", "code": of["code"], "record": of["id"], "tuning": of["tuning_id"] or ""})
    return pd.DataFrame(lines)


def strategies_table(board: Board, results: Iterable[Result]) -> Frame:
    """A line for each strategy, in per cent: accuracy on validation and on test, half-widths of its intervals, standard deviation over seeds."""
    lines = []
    for result in results:
        mean, images, classes = result.over()
        spread = 100 * result.row.scores.std(ddof=1) if result.row.varies and len(result.row.scores) > 1 else math.nan
        groups = {part: 100 * float(result.row.values(f"test/{part}").mean()) for part in PARTS}
        val = 100 * float(result.row.values("val/macro_accuracy").mean())
        numbers = {"validation": val, "test": mean, "images": images, "classes": classes, "seeds": spread} | groups
        lines.append({"board": board.name, "strategy": result.strategy, "side": result.side, "point": json.dumps(result.point)} | numbers)
    return pd.DataFrame(lines).round(4)


def gaps_table(board: Board, results: Iterable[Result]) -> Frame:
    """Ours less the best rival, in points. Test has chosen that rival: the comparison is hard on ours."""
    rivals = [result for result in results if result.side == "rival"]
    lines = []
    for result in (result for result in results if rivals and result.side == "ours"):
        best = max(rivals, key=lambda rival: rival.over()[0])
        mean, images, classes = result.over(best)
        lines.append({"board": board.name, "strategy": result.strategy, "rival": best.strategy, "gap": mean, "images": images, "classes": classes})  # fmt: skip
    return pd.DataFrame(lines).round(4)


def points_table(tunings: Iterable[Path]) -> Frame:
    """A line a point that was tuned: its macro accuracy on validation with each seed, and what ruled it out."""
    lines = []
    for document in map(read_tuning, sorted(tunings)):
        for point in document["grid"]:
            line = {"cache_key": document["cache_key"], "strategy": document["strategy"], "point": json.dumps(point["hyperparameters"])}
            line["validation"] = " ".join(f"{value:.6f}" for value in point["macro_accuracy"])
            line["chosen"] = int(point["hyperparameters"] == document["choice"])
            lines.append(
                line | {"repeats": point.get("repeats", ""), "health": " ".join(point.get("health", ())), "tuning": document["id"]}
            )
    return pd.DataFrame(lines)


def write_table(path: Path, parts: Iterable[Frame], unit: str) -> None:
    """Write lines by their unit, a board or a cache; a unit without new lines keeps those of the file."""
    new = [part for part in parts if len(part)]
    if not new:
        return
    table = pd.concat(new, ignore_index=True)
    if path.is_file():
        before = pd.read_csv(path, dtype=str, keep_default_na=False)
        table = pd.concat([before[~before[unit].isin(table[unit])], table], ignore_index=True)
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def main() -> None:
    """Read the records, write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    by_cache = {rows.rows[0].text("cache_name"): rows for rows in boards(load_records(options.results), "macro")}
    measured = [(board, results_of(by_cache[board.name])) for board in BOARDS if board.name in by_cache]
    options.out.mkdir(parents=True, exist_ok=True)
    for name, of in (("runs", runs_table), ("strategies", strategies_table), ("gaps", gaps_table)):
        write_table(options.out / f"{name}.csv", [of(board, results) for board, results in measured], "board")
    write_table(options.out / "points.csv", [points_table((options.results / "tuning").glob("*.json"))], "cache_key")
    write_page(options.out)


if __name__ == "__main__":
    main()
