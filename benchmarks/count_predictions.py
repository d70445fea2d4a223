"""Accuracy of an exported classifier, counted from the table that `lt-bench predict` writes, beside that of its record. It uses nothing of the package.

    lt-bench predict EXPORT photos --out predictions.csv
    python benchmarks/count_predictions.py RECORD.json predictions.csv CACHE/images.csv

The labels are the rows of split test of the cache's `images.csv`, by path (of images within a table: by the SHA-256 that is the name of the file); for embeddings the `.npz` of the test set,
by row. The exit code is 0 where both counts are the same image for image, else 1.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np


def labels_of(path: Path, class_names: list[str]) -> dict[str, str]:
    """The true class of each test input, by the input's name in the table of predictions."""
    if path.suffix == ".npz":
        labels = np.load(path)["labels"].tolist()  # for a cache with --relabel or --drop-empty, labels are names
        return {str(row): str(label) if str(label) in class_names else class_names[label] for row, label in enumerate(labels)}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["label"] for row in csv.DictReader(file) if row["split"] == "test"}


def plain(cell: str) -> str:
    """A cell without the apostrophe that keeps spreadsheets from taking it for a formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "@", "+", "-") else cell


def counted(predictions: Path, labels: dict[str, str]) -> tuple[int, int]:
    """Number of right predictions, and number of test inputs with a prediction."""
    right = seen = 0
    with predictions.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            path = plain(row["path"])
            name = path if path in labels else Path(path).stem
            if name in labels:
                seen += 1
                right += plain(row["class"]) == labels[name]
    return right, seen


def main(record_path: str, predictions: str, label_path: str) -> int:
    """Count, print, compare."""
    record = json.loads(Path(record_path).read_text(encoding="utf-8"))
    labels = labels_of(Path(label_path), record["dataset"]["class_names"])
    right, seen = counted(Path(predictions), labels)
    images = record["dataset"]["n_test"]
    recorded = round(record["metrics"]["test"]["accuracy"] * images)
    same = (right, seen) == (recorded, images)
    print(f"{right:,} of {seen:,} right; the record says {recorded:,} of {images:,}: {'the same' if same else 'NOT the same'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
