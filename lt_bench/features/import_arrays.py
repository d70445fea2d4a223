"""Arrays in files to a feature cache: what ``lt-bench import-features`` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.torch import load_file

from lt_bench.core.arrays import read_npy, read_npz
from lt_bench.core.errors import UserError
from lt_bench.features.cache import FeatureCache
from lt_bench.features.classes import require_names
from lt_bench.features.from_arrays import Arrays, Source, as_numpy, checked_split, held_out, write_arrays
from lt_bench.features.locate import home


def import_features(
    *,
    name: str,
    train: Path | None,
    test: Path | None,
    val: Path | None = None,
    train_labels: Path | None = None,
    val_labels: Path | None = None,
    test_labels: Path | None = None,
    head: Path | None = None,
    class_names: Path | None = None,
    dataset: str = "embeddings",
    backbone: str = "unknown",
    stage1: str = "",
    imbalance_factor: float | None = None,
    val_seen_by_backbone: bool = False,
    dtype: str = "float16",
    val_fraction: float = 0.0,
    seed: int = 0,
    out: Path | None = None,
    relabel: bool = False,
    drop_empty: bool = False,
    standardise: bool = False,
) -> FeatureCache:
    """Read the arrays, check them, and write the cache; prints nothing.

    A file holds ``features`` (N, D) or views (V, N, D), view 0 the plain one, and ``labels`` (N,); ``rows`` (N,), the position of each sample in its source, is
    optional. In parquet, ``features`` is a column of lists; a .npy holds one array, so its labels are a file of their own. The arguments are the options of
    the verb, see ``bench.options.ImportOptions``. Rows that ``val_fraction`` holds out count as seen by the backbone.

    Raises:
        UserError: a file or array is missing or does not fit, by name.
    """
    if not name or train is None or test is None:
        raise UserError("import-features needs --name, --train and --test")
    if Path(name).name != name or name.startswith("."):
        raise UserError(f"--name {name!r} is the name of a folder: no slashes, no leading dot; say where with --out")
    if val is not None and val_fraction:
        raise UserError("--val-fraction is for training rows without --val; use one of them")
    splits = {"train": read_split(train, train_labels), "test": read_split(test, test_labels)}
    if val is not None:
        splits["val"] = read_split(val, val_labels)
    elif val_fraction > 0:
        splits["train"], splits["val"] = held_out(splits["train"], val_fraction, seed)
    seen = val_seen_by_backbone or (val is None and val_fraction > 0)
    files = {"train": train, "val": val, "test": test, "head": head}
    switches = {"relabel": relabel, "drop-empty": drop_empty, "standardise": standardise}
    command = " ".join(
        [
            *("lt-bench import-features", f"--name {name} --dataset {dataset}"),
            *(f"--{one} {path.name}" for one, path in files.items() if path),
            *(f"--{one} true" for one, on in switches.items() if on),
        ]
    )
    names = None if class_names is None else read_names(class_names)
    source = Source(
        name, dataset, names, backbone, stage1, imbalance_factor, seen, dtype, command, relabel=relabel, drop_empty=drop_empty, standardise=standardise,
    )  # fmt: skip
    return write_arrays(out or home() / "caches" / name, splits, source, read_arrays(head) if head else None)


def read_split(path: Path, labels: Path | None) -> Arrays:
    """``features``, ``labels`` and perhaps ``rows`` of one split, checked by ``checked_split``."""
    arrays = read_arrays(path)
    if labels is not None:
        arrays["labels"] = _labels(labels)
    return checked_split(arrays, str(path))


def _labels(path: Path) -> np.ndarray:
    """The array ``labels`` of a file, or its only one."""
    arrays = {"labels" if path.suffix == ".npy" else name: array for name, array in read_arrays(path).items()}
    if "labels" not in arrays and len(arrays) != 1:
        raise UserError(
            f"{path}: which array are the labels? it has {', '.join(arrays) or 'none'}; name it `labels`, or let it be the only one"
        )
    return arrays.get("labels", next(iter(arrays.values())))


def read_arrays(path: Path) -> Arrays:
    """Named arrays of an npz, npy (as ``features``), safetensors or parquet file; never unpickles."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if path.suffix == ".npz":
            return read_npz(path)
        if path.suffix == ".npy":
            return {"features": read_npy(path)}
        if path.suffix == ".safetensors":
            return {name: as_numpy(tensor) for name, tensor in load_file(path).items()}
        if path.suffix in (".parquet", ".pq"):
            table = pq.read_table(path)
            return {name: np.stack(table[name].to_numpy()) if name == "features" else table[name].to_numpy() for name in table.column_names}
    except (ValueError, OSError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    raise UserError(f"{path}: expected .npz, .npy, .safetensors or .parquet")


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, one a line; lines without one are passed over.

    Raises:
        UserError: no such file, not UTF-8, or a name stands twice, by line.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        lines = {number: line.strip() for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1) if line.strip()}
    except UnicodeDecodeError:
        raise UserError(f"{path}: class names are not UTF-8 text; save the file as UTF-8") from None
    return require_names(tuple(lines.values()), len(lines), str(path), tuple(lines))
