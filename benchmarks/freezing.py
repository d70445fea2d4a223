"""Cost of freezing: the same strategies on a cache, and on fresh augmentations with the backbone in eval and in training mode; same weights, same seeds.

    python benchmarks/freezing.py --data-dir DIR --backbone resnet10s2 --weights FILE --cache DIR/ --results RESULTS --out benchmarks/results/freezing-NAME

Writes OUT.md and OUT.csv. What is recorded in RESULTS already is not fitted again, so it goes on where it was broken off.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the device machine has the checkout, not the package

from lt_bench.bench.options import RunOptions, StrategyChoice  # noqa: E402
from lt_bench.bench.run import run  # noqa: E402
from lt_bench.core.files import write_text  # noqa: E402
from lt_bench.leaderboard.intervals import Estimate, seed_interval  # noqa: E402
from lt_bench.results.record import Protocol, RunRecord  # noqa: E402

PROTOCOLS: tuple[Protocol, ...] = ("clean", "images-eval", "images-train")


@dataclass(frozen=True)
class Column:
    """A figure of a record, in points or seconds."""

    title: str
    value: Callable[[RunRecord], float]
    digits: int = 2


def _percent(view: str, name: str) -> Callable[[RunRecord], float]:
    return lambda record: 100 * record.metrics.get(view, {}).get(name, float("nan"))


COLUMNS = (
    Column("Accuracy", _percent("test", "accuracy")),
    Column("Many", _percent("test", "many")),
    Column("Medium", _percent("test", "medium")),
    Column("Few", _percent("test", "few")),
    Column("Train, macro", _percent("train", "macro_accuracy")),
    Column("Flip-averaged", _percent("test_flip", "accuracy")),
    Column("Best test epoch (chosen on test)", _percent("test_best_epoch", "accuracy")),
    Column("Fit s", lambda record: record.time.fit_s, 1),
)


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar100_lt")
    parser.add_argument("--imbalance-factor", type=float)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cache", required=True, help="extracted with these weights; a directory ends in /")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="prefix of the two files")
    parser.add_argument("--strategies", default="los,weight_balancing_released")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--precision", choices=("bf16", "fp32"))
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--best-test-epoch", action="store_true", help="test after every epoch too, which takes about as long as an epoch")
    options = parser.parse_args()
    rows = {(name, protocol): fitted(options, name, protocol) for name in options.strategies.split(",") for protocol in PROTOCOLS}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out.with_name(options.out.name + ".md"), page(options, rows))
    write_text(options.out.with_name(options.out.name + ".csv"), table_csv(rows))


def fitted(options: argparse.Namespace, name: str, protocol: Protocol) -> list[RunRecord]:
    """The records of a strategy under a protocol, one per seed."""
    on_images = {} if protocol == "clean" else {"data_dir": options.data_dir, "weights": options.weights, "precision": options.precision}
    return run(
        RunOptions(
            strategy=StrategyChoice(name), dataset=options.dataset, imbalance_factor=options.imbalance_factor, backbone=options.backbone,
            cache=options.cache, protocol=protocol, seeds=[int(seed) for seed in options.seeds.split(",")], best_test_epoch=options.best_test_epoch,
            results=options.results, accelerator=options.accelerator, **on_images,
        )
    ).checked()  # fmt: skip


def estimate(records: Sequence[RunRecord], column: Column) -> Estimate:
    """Mean and 95 % t interval over seeds."""
    return seed_interval(np.array([column.value(record) for record in records]), records[0].seeds.varies)


def page(options: argparse.Namespace, rows: dict[tuple[str, str], list[RunRecord]]) -> str:
    """The table in Markdown, with the environment it was measured in."""
    first = next(iter(rows.values()))[0]
    by_protocol = {protocol: records[0] for (_, protocol), records in rows.items()}
    lines = [
        f"# What freezing costs: {first.dataset.name}, IF {first.dataset.imbalance_factor:g}, {first.backbone.name}",
        "",
        f"Stage 1: {first.backbone.stage1 or 'as the weights file has it'} (weights {first.backbone.weights_hash}). Split `{first.dataset.split_hash}`, "
        f"seeds {options.seeds}, last epoch on the plain test view; ± is a 95 % t interval over seeds (head seeds, one backbone).",
        "`clean`: frozen features of the cache "
        f"({len(first.cache.views) - 1} stored augmentations, {first.cache.dtype}); `images-eval`: a fresh augmentation for every sample, backbone in eval mode; "
        "`images-train`: the same in training mode, as the official code of both methods: BatchNorm normalises by the batch and its running statistics, with which "
        f"the test images are then normalised, move. Forward on images in {by_protocol['images-eval'].cache.dtype}, evaluation in float32. "
        "Train is macro accuracy on the plain training view. Fit s: a head's part of the seconds of its fit, which seeds share but under images-train.",
        "",
        "| Strategy | Protocol | " + " | ".join(column.title for column in COLUMNS) + " |",
        "| :-- | :-- |" + " --: |" * len(COLUMNS),
    ]
    for (name, protocol), records in rows.items():
        cells = [_cell(estimate(records, column), column) for column in COLUMNS]
        lines.append(f"| {name} | {protocol} | " + " | ".join(cells) + " |")
    environment = ", ".join(f"{key} {value}" for key, value in sorted(first.environment.items()) if isinstance(value, str | int))
    lines += ["", f"Made by `benchmarks/freezing.py`. {environment}."]
    lines += ["", *(f"- `{records[0].command}`" for records in rows.values())]
    return "\n".join(lines) + "\n"


def _cell(found: Estimate, column: Column) -> str:
    if np.isnan(found.mean):
        return "-"
    interval = found.half is not None and column.digits > 1  # heads of a stack have equal seconds, so no spread
    return f"{found.mean:.{column.digits}f}" + (f" ± {found.half:.{column.digits}f}" if interval else "")


def table_csv(rows: dict[tuple[str, str], list[RunRecord]]) -> str:
    """One line a run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["strategy", "protocol", "seed", "record", *(column.title for column in COLUMNS)])
    for (name, protocol), records in rows.items():
        for record in records:
            writer.writerow([name, protocol, record.identity.seed, record.id, *(f"{column.value(record):.4f}" for column in COLUMNS)])
    return text.getvalue()


if __name__ == "__main__":
    main()
