"""Class accuracies of the records behind a row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lt_bench.leaderboard.boards import Row
from lt_bench.leaderboard.load import PER_CLASS


def class_accuracies(row: Row) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Accuracy and test images of each class (K,), for each seed; nothing where a seed has none. Read once."""
    if "class accuracies" not in row.computed:
        both = [row.runs.find_arrays(int(position), *PER_CLASS) for position in row.positions]
        arrays = [(accuracy, total) for accuracy, total in both if accuracy is not None and total is not None]
        row.computed["class accuracies"] = arrays if len(arrays) == len(both) else []
    return row.computed["class accuracies"]
