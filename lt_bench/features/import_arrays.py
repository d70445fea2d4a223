"""Arrays in files to a feature cache: what ``lt-bench import-features`` does."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lt_bench.core.errors import UserError
from lt_bench.features.array_files import label_names, read_arrays, usual_names
from lt_bench.features.cache import FeatureCache, FitHead
from lt_bench.features.classes import require_names
from lt_bench.features.from_arrays import Arrays, Source, checked_split, held_out, prepare_arrays, write_prepared
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
    stage1_head: str | None = None,
    class_names: Path | None = None,
    dataset: str = "embeddings",
    backbone: str = "unknown",
    stage1: str = "",
    imbalance_factor: float | None = None,
    val_seen_by_backbone: bool | None = None,
    dtype: str = "float16",
    val_fraction: float = 0.0,
    seed: int = 0,
    out: Path | None = None,
    relabel: bool = False,
    drop_empty: bool = False,
    standardise: bool = False,
    fit_head: FitHead | None = None,
) -> FeatureCache:
    """Read the arrays, check them, and write the cache; prints nothing.

    A file holds ``features`` (N, D) or views (V, N, D), view 0 the plain one, and ``labels`` (N,); ``rows`` (N,), the position of each sample in its source, is
    optional. In parquet, ``features`` is a column of lists; a .npy holds one array, so its labels are a file of their own. The arguments are the options of
    the verb, see ``bench.options.ImportOptions``, but for ``fit_head``, which fits the head that ``stage1_head`` asks for.

    Raises:
        UserError: a file or array is missing or does not fit, by name.
    """
    if not name or train is None or test is None:
        raise UserError("import-features needs --name, --train and --test")
    if Path(name).name != name or name.startswith("."):
        raise UserError(f"--name {name!r} is the name of a folder: no slashes, no leading dot; say where with --out")
    if head is not None and stage1_head is not None:
        raise UserError("--head gives a stage-1 head and --stage1-head fit makes one; use one of them")
    if val is not None and val_fraction:
        raise UserError("--val-fraction is for training rows without --val; use one of them")
    splits = {"train": _read_split("train", train, train_labels), "test": _read_split("test", test, test_labels)}
    if val is not None:
        splits["val"] = _read_split("val", val, val_labels)
    elif val_fraction > 0:
        splits["train"], splits["val"] = held_out(splits["train"], val_fraction, seed)
    seen = head is not None and "val" in splits and val is None if val_seen_by_backbone is None else val_seen_by_backbone
    files = {"train": train, "val": val, "test": test, "head": head}
    switches = {"relabel": relabel, "drop-empty": drop_empty, "standardise": standardise}
    command = _command(name, dataset, files, switches, stage1_head)
    names = _names({"train": train, "val": val, "test": test}) if class_names is None else read_names(class_names)
    source = Source(
        name, dataset, names, backbone, stage1, imbalance_factor, seen, dtype, command, relabel=relabel, drop_empty=drop_empty, standardise=standardise,
    )  # fmt: skip
    prepared = prepare_arrays(splits, source, read_arrays(head) if head else None)
    if stage1_head is not None and fit_head is not None:
        prepared = prepared.with_fitted_head(fit_head)
    return write_prepared(out or home() / "caches" / name, prepared)


def _command(name: str, dataset: str, files: Mapping[str, Path | None], switches: Mapping[str, bool], stage1_head: str | None) -> str:
    """The command that the manifest records, files without their folders."""
    words = ["lt-bench", "import-features", "--name", name, "--dataset", dataset]
    words += [word for one, path in files.items() if path for word in (f"--{one}", path.name)]
    words += [word for one, on in switches.items() if on for word in (f"--{one}", "true")]
    return shlex.join([*words, "--stage1-head", "fit"] if stage1_head else words)


def _read_split(split: str, path: Path, labels: Path | None) -> Arrays:
    """``features``, ``labels`` and perhaps ``rows`` of one split, checked by ``checked_split``."""
    arrays = usual_names(read_arrays(path))
    if labels is not None:
        arrays["labels"] = _labels(labels)
    elif path.suffix == ".npy":
        raise UserError(f"{path}: a .npy holds one array, here the features; give the labels with --{split}-labels FILE")
    return checked_split(arrays, str(path))


def _labels(path: Path) -> np.ndarray:
    """The array ``labels`` of a file, or its only one."""
    arrays = {"labels" if path.suffix == ".npy" else name: array for name, array in usual_names(read_arrays(path)).items()}
    if "labels" not in arrays and len(arrays) != 1:
        raise UserError(
            f"{path}: which array are the labels? it has {', '.join(arrays) or 'none'}; name it `labels`, or let it be the only one"
        )
    return arrays.get("labels", next(iter(arrays.values())))


def _names(files: Mapping[str, Path | None]) -> tuple[str, ...] | None:
    """Class names that the files of the splits bring, which have to agree."""
    named = {path: names for path in files.values() if path is not None and (names := label_names(path))}
    if len(set(named.values())) > 1:
        raise UserError(
            f"{' and '.join(map(str, named))} name their classes differently; make the files of one data set, or give --class-names"
        )
    return next(iter(named.values()), None)


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
