"""All runs in one Parquet file in git: metrics, choices, seeds, code and command of each, and the accuracy of each class."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lt_bench.core.files import replacing
from lt_bench.leaderboard.load import load_records

Frame = Any  # a pandas.DataFrame, whose hints call each selection a series or a frame
OUT = Path(__file__).resolve().parents[1] / "results" / "evidence" / "runs.parquet"
_LEFT_OUT = {
    "path", "environment", "paper", "inferred", "tuning_id", "num_classes", "selected_on", "weights_hash", "steps", "batch_size", "evaluate_s",
}  # fmt: skip


def frame_of(directories: Iterable[Path]) -> Frame:
    """A line for each record, each once (twice where tunings over grids of two sizes chose it), by cache, strategy, settings and seed; `class_accuracy` and `weight_norm` (K,) are those on test. Raises as `load_records`."""
    parts = []
    for directory in directories:
        runs = load_records(directory)
        columns: dict[str, Any] = {name: of.astype(np.float32) if "/" in name else of for name, of in runs.columns.items() if name not in _LEFT_OUT}  # fmt: skip
        for name in ("class_accuracy", "weight_norm"):
            arrays = (runs.find_array(position, f"test/{name}") for position in range(len(runs.columns["id"])))
            columns[name] = [None if one is None else one.astype(np.float32) for one in arrays]
        parts.append(pd.DataFrame(columns))
    return _together(parts)


def _together(parts: list[Frame]) -> Frame:
    whole = pd.concat(parts, ignore_index=True).drop_duplicates(["id", "tuning", "grid_size"])  # grids of two sizes may choose one point
    whole["command"] = [
        re.sub(r"(?<=--cache )/\S+", lambda _, own=name: own, text)
        for text, name in zip(whole["command"], whole["cache_name"], strict=True)
    ]  # a path of one machine tells nobody more
    return whole.sort_values(["dataset", "cache_key", "strategy", "hyperparameters", "code", "seed", "id", "grid_size"], ignore_index=True)


def write_rows(directories: Iterable[Path], out: Path = OUT) -> int:
    """Add the records to the file, whole or not at all; a run of the file stays, as records are not in git. Returns the number of runs.

    Raises:
        UserError: no record in a directory, or one does not hold.
    """
    table = pa.Table.from_pandas(_together([frame_of(directories), *([read_rows(out)] if out.is_file() else [])]), preserve_index=False)
    table = table.replace_schema_metadata(None)
    with replacing(out) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return len(table)


def read_rows(path: Path = OUT) -> Frame:
    """The runs that `write_rows` wrote."""
    return pq.read_table(path).to_pandas()
