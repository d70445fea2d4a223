"""The per-class gap between train and test accuracy of ce, focal with class-balanced weights and d_ffds (FFDS paper, Figure 1), from records.

    lt-bench run --strategy ce --dataset cifar100_lt --cache NAME --seeds 0,1,2 --results RESULTS       (and cb_focal, d_ffds; or --mode end-to-end)
    python benchmarks/train_test_gap.py --results RESULTS --out benchmarks/results/train-test-gap-NAME [--protocol clean] [--mode head]

Writes OUT.csv (one line a class), OUT.md (means of many, medium and few) and a figure. Train accuracy is that of the plain training view.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the device machine has the checkout, not the package

from lt_bench.core.files import write_text  # noqa: E402
from lt_bench.leaderboard.boards import BoardRows, Row, boards, one_board  # noqa: E402
from lt_bench.leaderboard.load import load_records  # noqa: E402
from lt_bench.leaderboard.plots.by_class import gap_by_size  # noqa: E402
from lt_bench.leaderboard.plots.data import vector  # noqa: E402
from lt_bench.leaderboard.plots.style import look, save  # noqa: E402


def main() -> None:
    """Read the records, write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="prefix of the files")
    parser.add_argument("--strategies", default="ce,cb_focal,d_ffds")
    parser.add_argument("--protocol", default="clean")
    parser.add_argument("--mode", default="head")
    options = parser.parse_args()
    runs = load_records(options.results)
    fitting = [found.board for found in boards(runs) if (found.board.protocol, found.board.mode) == (options.protocol, options.mode)]
    if len(fitting) != 1:
        sys.exit(f"{options.results}: {len(fitting)} boards of protocol {options.protocol} and mode {options.mode}, expected one")
    board = one_board(runs, protocol=options.protocol, mode=options.mode)
    wanted = options.strategies.split(",")
    rows = [row for row in board.rows if row.label.partition(" ")[0] in wanted]
    board = replace(board, rows=sorted(rows, key=lambda row: wanted.index(row.label.partition(" ")[0])))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out.with_name(options.out.name + ".csv"), by_class(board))
    write_text(options.out.with_name(options.out.name + ".md"), page(board))
    with look():
        made = gap_by_size(board)
        if made is not None:
            save(made, options.out)


def accuracies(row: Row) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Train and test accuracy of every class (K,), mean over seeds."""
    found = vector(row, "train/class_accuracy"), vector(row, "test/class_accuracy")
    if found[0] is None or found[1] is None:
        sys.exit(f"{row.label}: its records have no per-class accuracies")
    return found[0], found[1]


def by_class(board: BoardRows) -> str:
    """One line a class, the largest first."""
    text, split = io.StringIO(), board.rows[0].split
    writer = csv.writer(text, lineterminator="\n")
    both = [accuracies(row) for row in board.rows]
    writer.writerow(["class", "train_images", *(f"{row.label} {what}" for row in board.rows for what in ("train", "test", "gap"))])
    for k in np.argsort(-split.train_counts, kind="stable"):
        values = [f"{value:.4f}" for train, test in both for value in (train[k], test[k], train[k] - test[k])]
        writer.writerow([split.class_names[k], split.train_counts[k], *values])
    return text.getvalue()


def page(board: BoardRows) -> str:
    """Group means in Markdown."""
    groups = board.rows[0].split.groups
    lines = [
        f"# Train-test gap per class: {board.title}",
        "",
        "Train minus test accuracy, points: means over the classes of a group and over seeds. Train is the plain training view.",
        "",
        "| Strategy | Seeds | All | Many | Medium | Few | Test accuracy |",
        "| :-- | :-- | --: | --: | --: | --: | --: |",
    ]
    for row in board.rows:
        train, test = accuracies(row)
        gap = 100 * (train - test)
        means = [gap, *(gap[getattr(groups, name)] for name in ("many", "medium", "few"))]
        cells = [f"{np.nanmean(values):.1f}" if values.size else "-" for values in means]
        seeds = ",".join(map(str, row.seeds))
        lines.append(f"| {row.label} | {seeds} | " + " | ".join(cells) + f" | {100 * row.estimate('test/accuracy').mean:.2f} |")
    return "\n".join([*lines, "", "Made by `benchmarks/train_test_gap.py`.", ""])


if __name__ == "__main__":
    main()
