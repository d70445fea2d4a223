"""``lt-bench import-features``: embeddings of any modality, from arrays in files, to a feature cache."""

from __future__ import annotations

import hashlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow.parquet as pq
import torch
from rich.console import Console
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor

from lt_bench.bench.options import ImportOptions
from lt_bench.core.errors import UserError
from lt_bench.core.seeds import derive_seed
from lt_bench.data.specs import dataset_spec
from lt_bench.data.splits import listed_rows, split_hash
from lt_bench.features.locate import home
from lt_bench.features.manifest import BackboneInfo, DatasetInfo, Manifest
from lt_bench.features.write import Description, digest, write_cache

Arrays = dict[str, np.ndarray]
MOST_CLASSES = 1_000_000


def import_features(options: ImportOptions) -> Manifest:
    """Read the arrays, check them, and write the cache.

    A file holds ``features`` (N, D) or views (V, N, D), view 0 the plain one, and ``labels`` (N,); ``rows`` (N,), the position of each sample in its source, is
    optional. In parquet, ``features`` is a column of lists.

    Raises:
        UserError: a file or array is missing or does not fit, by name.
    """
    if not options.name or options.train is None or options.test is None:
        raise UserError("import-features needs --name, --train and --test")
    if Path(options.name).name != options.name or options.name.startswith("."):
        raise UserError(f"--name {options.name!r} is the name of a folder: no slashes, no leading dot; say where with --out")
    if options.val is not None and options.val_fraction:
        raise UserError("--val-fraction is for training rows without --val; use one of them")
    spec = dataset_spec(options.dataset)
    splits = {"train": read_split(options.train, options.train_labels), "test": read_split(options.test, options.test_labels)}
    if options.val is not None:
        splits["val"] = read_split(options.val, options.val_labels)
    elif options.val_fraction > 0:
        splits["train"], splits["val"] = hold_out(splits["train"], options.val_fraction, options.seed)
    arrays = cache_arrays(splits)
    K = 1 + max(int(arrays[f"{split}/labels"].max()) for split in splits)
    if K > MOST_CLASSES:
        raise UserError(f"labels: found {K - 1}, expected 0..K-1 with at most {MOST_CLASSES:,} classes")
    if options.head is not None:
        head = read_arrays(options.head)
        arrays |= {f"head/{name}": torch.from_numpy(np.ascontiguousarray(head[name])) for name in ("weight", "bias") if name in head}
        if "head/weight" not in arrays:
            raise UserError(f"{options.head}: no array `weight`; it has {', '.join(head)}")
        K = max(K, arrays["head/weight"].shape[0])
    names = read_names(options.class_names) or spec.class_names() or tuple(str(k) for k in range(K))
    if options.class_names is not None and len(names) < K:
        raise UserError(
            f"{options.class_names}: {len(names)} class names, and the labels (or the head) are of {K} classes; one name a line, in label order"
        )
    counts = torch.bincount(arrays["train/labels"].clamp(0, len(names) - 1), minlength=len(names))  # labels outside are refused on writing
    made_by = sorted(
        name for name in arrays if "/features/" in name or name.startswith("head/")
    )  # every view and the head are the backbone's
    weights_hash = hashlib.sha256("".join(f"{name} {digest(arrays[name])}\n" for name in made_by).encode()).hexdigest()[:16]
    seen = options.val_seen_by_backbone or (options.val is None and options.val_fraction > 0)
    dataset = DatasetInfo(spec.name, names, tuple(counts.tolist()), split_identity(arrays, splits), options.imbalance_factor, "given", seen)
    description = Description(
        options.name, dataset, BackboneInfo(options.backbone, weights_hash, arrays["train/features/plain"].shape[1], options.stage1),
        {"evaluation": "imported features", "augmentation": "imported features"}, options.dtype,
        origin=f"imported from arrays; {options.stage1 or 'stage 1 not described'}", command=command_of(options),
    )  # fmt: skip
    directory = options.out or home() / "caches" / options.name
    manifest = write_cache(directory, description, arrays)
    console = Console(soft_wrap=True)
    console.print(
        f"wrote {directory}: {manifest.name}, key {manifest.key}, {sum(dataset.train_counts):,} x {manifest.backbone.dim}, views {manifest.views}"
    )
    if seen:
        console.print("validation was taken from rows that the backbone may have seen: `lt-bench tune` will refuse it")
    return manifest


def read_split(path: Path, labels: Path | None) -> Arrays:
    """``features``, ``labels`` and perhaps ``rows`` of one split; their types and shapes are checked, values are when the cache is written."""
    arrays = read_arrays(path)
    if labels is not None:
        arrays["labels"] = next(iter(read_arrays(labels).values()))
    for name in ("features", "labels"):
        if name not in arrays:
            hint = "; give --*-labels with a .npy" if path.suffix == ".npy" else ""
            raise UserError(f"{path}: no array {name!r}; it has {', '.join(arrays) or 'none'}{hint}")
    features, n = arrays["features"], arrays["labels"].shape[:1]
    if features.ndim not in (2, 3) or not np.issubdtype(features.dtype, np.floating):
        raise UserError(
            f"{path}: features are {features.dtype} of shape {features.shape}, expected floating-point numbers (N, D) or (V, N, D)"
        )
    for name in ("labels", *(("rows",) if "rows" in arrays else ())):
        if not np.issubdtype(arrays[name].dtype, np.integer):
            raise UserError(f"{path}: {name} are {arrays[name].dtype}, expected integers" + (" 0..K-1" if name == "labels" else ""))
        if arrays[name].shape != features.shape[-2:-1] or not n[0]:
            raise UserError(
                f"{path}: {name} have shape {arrays[name].shape} and features {features.shape}, expected one per row, and at least one"
            )
    if arrays["labels"].min() < 0:
        raise UserError(f"{path}: labels: found {arrays['labels'].min()}, expected 0..K-1")
    return arrays


def read_arrays(path: Path) -> Arrays:
    """Named arrays of an npz, npy (as ``features``), safetensors or parquet file; never unpickles."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        if path.suffix == ".npy":
            return {"features": np.load(path, allow_pickle=False)}
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        if path.suffix in (".parquet", ".pq"):
            table = pq.read_table(path)
            return {name: np.stack(table[name].to_numpy()) if name == "features" else table[name].to_numpy() for name in table.column_names}
    except (ValueError, OSError, EOFError, KeyError, BadZipFile, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    raise UserError(f"{path}: expected .npz, .npy, .safetensors or .parquet")


def cache_arrays(splits: dict[str, Arrays]) -> dict[str, Tensor]:
    """The cache's arrays from those of the splits."""
    found: dict[str, Tensor] = {}
    for split, arrays in splits.items():
        features = torch.from_numpy(np.ascontiguousarray(arrays["features"]))
        views = features.unsqueeze(0) if features.dim() == 2 else features
        others = "flip" if split == "test" else "aug"
        for v, view in enumerate(views):
            name = "plain" if v == 0 else ("flip" if others == "flip" and v == 1 else f"{others}{v}")
            found[f"{split}/features/{name}"] = view
        found[f"{split}/labels"] = torch.from_numpy(np.array(arrays["labels"], dtype=np.int64))
        if "rows" in arrays:
            found[f"{split}/rows"] = torch.from_numpy(np.array(arrays["rows"], dtype=np.int64))
    return found


def hold_out(train: Arrays, fraction: float, seed: int) -> tuple[Arrays, Arrays]:
    """Take a share of every class of the training rows for validation, at most half a class; a class of one keeps it."""
    if not 0 < fraction < 1:
        raise UserError(f"--val-fraction is {fraction}, expected a number between 0 and 1")
    generator = np.random.default_rng(derive_seed("subset", seed))
    chosen = []
    labels = np.asarray(train["labels"])
    for k in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == k))
        chosen.append(members[: min(round(fraction * members.size), members.size // 2)])
    held = np.zeros(labels.size, dtype=bool)
    held[np.concatenate(chosen)] = True
    rows = np.asarray(train.get("rows", np.arange(labels.size)))
    plain = train["features"] if train["features"].ndim == 2 else train["features"][0]
    kept = {"features": train["features"][..., ~held, :], "labels": labels[~held], "rows": rows[~held]}
    return kept, {"features": plain[held], "labels": labels[held], "rows": rows[held]}


def split_identity(arrays: dict[str, Tensor], splits: dict[str, Arrays]) -> str:
    """Identity of the splits from label and source row where rows are given, else from label and the features' own bytes."""
    canonical = {}
    for split in splits:
        rows = arrays.get(f"{split}/rows")
        names = [digest(row) for row in arrays[f"{split}/features/plain"]] if rows is None else [str(row) for row in rows.tolist()]
        canonical[split] = listed_rows(names, arrays[f"{split}/labels"].tolist())
    return split_hash(canonical)


def read_names(path: Path | None) -> tuple[str, ...] | None:
    """Class names, one a line."""
    if path is None:
        return None
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except UnicodeDecodeError:
        raise UserError(f"{path}: class names are not UTF-8 text; save the file as UTF-8") from None


def command_of(options: ImportOptions) -> str:
    """The command line in short: which files went in."""
    files = " ".join(f"--{name} {path.name}" for name in ("train", "val", "test", "head") if (path := getattr(options, name)) is not None)
    return f"lt-bench import-features --name {options.name} --dataset {options.dataset} {files}"
