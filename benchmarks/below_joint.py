"""Rows of a leaderboard that end below the untouched stage-1 head, each with the reason that was found.

    python benchmarks/below_joint.py benchmarks/results/all_strategies

reads every ``leaderboard.csv`` there and ``reasons.yaml``, and writes ``BELOW_JOINT.md`` beside them.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Below:
    """A row below ``joint`` on the same board; macro accuracies in per cent, on a balanced test set the share of images."""

    dataset: str
    backbone: str
    row: str
    strategy: str
    accuracy: float
    joint: float


def below_joint(table: Path) -> list[Below]:
    """The rows of one ``leaderboard.csv`` whose macro accuracy is below that of ``joint`` on the same board, worst last."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    board = ("dataset", "split_hash", "cache_key", "protocol", "mode")
    joint = {tuple(row[name] for name in board): float(row["macro_accuracy"]) for row in rows if row["strategy"] == "joint"}
    found = []
    for row in rows:
        reference = joint.get(tuple(row[name] for name in board))
        if reference is not None and float(row["macro_accuracy"]) < reference:
            found.append(Below(row["dataset"], row["backbone"], row["row"], row["strategy"], float(row["macro_accuracy"]), reference))
    return sorted(found, key=lambda one: (one.dataset, one.backbone, -one.accuracy))


def reasons_of(directory: Path) -> dict[str, str]:
    """Read the reason of each strategy from a YAML file."""
    return yaml.safe_load((directory / "reasons.yaml").read_text(encoding="utf-8"))


def text(found: list[Below], reasons: dict[str, str]) -> str:
    """The table in Markdown.

    Raises:
        KeyError: a strategy has no reason.
    """
    head = "# Below the stage-1 head, and why\n\nMade by `benchmarks/below_joint.py` from the tables and reasons.yaml; test accuracies in per cent (macro accuracy; on a balanced test set the share of images).\n\n"
    lines = ["| data | backbone | row | accuracy | joint | why |", "|---|---|---|--:|--:|---|"]
    for one in found:
        why = " ".join(reasons[one.strategy].split())
        lines.append(f"| {one.dataset} | {one.backbone} | {one.row} | {one.accuracy:.2f} | {one.joint:.2f} | {why} |")
    return head + "\n".join(lines) + "\n"


def main(directory: Path) -> None:
    """Write ``BELOW_JOINT.md``."""
    found = [one for table in sorted(directory.rglob("leaderboard.csv")) for one in below_joint(table)]
    reasons = reasons_of(directory)
    missing = sorted({one.strategy for one in found} - reasons.keys())
    if missing:
        sys.exit(f"{directory / 'reasons.yaml'}: no reason for {', '.join(missing)}; look into them and write it down")
    (directory / "BELOW_JOINT.md").write_text(text(found, reasons), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
