"""Differences between the protocols of freezing.py, from frozen features to the official loop, with intervals over head seeds.

python -m benchmarks.freezing_cost benchmarks/results/freezing-cifar100_lt-resnet10s2.csv --out benchmarks/results/freezing-cost-cifar100_lt-resnet10s2.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from scipy.stats import ttest_ind

from lt_bench.core.files import write_text

STEPS = {
    "fresh augmentations in place of stored ones": ("clean", "images-eval"),
    "BatchNorm in training mode": ("images-eval", "images-train"),
    "both": ("clean", "images-train"),
}
GROUPS = ("Accuracy", "Many", "Medium", "Few")


def report(runs: pd.DataFrame) -> str:
    """A line for each strategy and step: mean differences, and their 95 % intervals (Welch) over head seeds, in points."""
    lines = [
        "# The cost of freezing the statistics\n",
        "Made by `python -m benchmarks.freezing_cost` from the runs of freezing.py. Points of test accuracy; ±: 95 % (Welch) over head seeds, one backbone.\n",
        "| strategy | step | " + " | ".join(name.lower() for name in GROUPS) + " |",
        "|---|---|" + "--:|" * len(GROUPS),
    ]
    for strategy, of in runs.groupby("strategy", sort=False):
        by_protocol = {str(protocol): one for protocol, one in of.groupby("protocol")}
        for step, (before, after) in STEPS.items():
            cells = []
            for name in GROUPS:
                ends = ttest_ind(by_protocol[after][name], by_protocol[before][name], equal_var=False).confidence_interval()
                cells.append(f"{(ends.high + ends.low) / 2:+.2f} ± {(ends.high - ends.low) / 2:.2f}")
            lines.append(f"| `{strategy}` | {step} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="CSV of freezing.py")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write_text(options.out, report(pd.read_csv(options.runs)))


if __name__ == "__main__":
    main()
