"""All runs in one Parquet file in git: metrics, choices, seeds, code and command of each, and the accuracy of each class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lt_bench.core.files import replacing
from lt_bench.leaderboard.load import load_records

OUT = Path(__file__).resolve().parents[1] / "results" / "evidence" / "runs.parquet"
_LEFT_OUT = {"path", "environment", "paper", "inferred", "tuning_id", "num_classes", "selected_on", "steps", "batch_size", "evaluate_s"}


def frame_of(directories: Iterable[Path]) -> pd.DataFrame:
    """A line for each record, each once, by cache, strategy, settings and seed; `class_accuracy` (K,) is that on test. Raises as `load_records`."""
    parts = []
    for directory in directories:
        runs = load_records(directory)
        columns = {
            name: column.astype(np.float32) if "/" in name else column for name, column in runs.columns.items() if name not in _LEFT_OUT
        }
        of_classes = [runs.array(position, "test/class_accuracy").astype(np.float32) for position in range(len(columns["id"]))]
        parts.append(pd.DataFrame(columns | {"class_accuracy": of_classes}))
    whole = pd.concat(parts, ignore_index=True).drop_duplicates("id")
    return whole.sort_values(["dataset", "cache_key", "strategy", "hyperparameters", "code", "seed", "id"], ignore_index=True)


def write_rows(directories: Iterable[Path], out: Path = OUT) -> int:
    """Write the file, whole or not at all; returns the number of runs."""
    frame = frame_of(directories)
    with replacing(out) as temporary:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None), temporary, compression="zstd")
    return len(frame)


def read_rows(path: Path = OUT) -> pd.DataFrame:
    """The runs that `write_rows` wrote."""
    return pq.read_table(path).to_pandas()
