"""A feature cache of arrays in memory: features and labels of any modality, NumPy's or torch's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.core.seeds import derive_seed
from lt_bench.data.specs import dataset_spec
from lt_bench.data.splits import listed_rows, split_hash
from lt_bench.features.cache import FeatureCache
from lt_bench.features.manifest import BackboneInfo, DatasetInfo
from lt_bench.features.write import Description, digest, write_cache

Arrays = dict[str, np.ndarray]
"""Arrays of one split: ``features`` (N, D) or (V, N, D), ``labels`` (N,) and perhaps ``rows`` (N,)."""
MOST_CLASSES = 1_000_000


@dataclass(frozen=True)
class Source:
    """Description of arrays for the manifest.

    Attributes:
        name: of the cache.
        dataset: data set that the features are of.
        class_names: K names in label order; by default those of the data set, else the numbers 0..K-1.
        backbone: network that made the features.
        stage1: how that network was trained, in words.
        imbalance_factor: of the training set, where it is a subset.
        val_seen_by_backbone: whether stage 1 was trained on the validation rows; tuning then refuses them.
        dtype: stored precision: float16, float32 or affine8.
        command: how to make the cache again, in words.
    """

    name: str
    dataset: str = "embeddings"
    class_names: tuple[str, ...] | None = None
    backbone: str = "unknown"
    stage1: str = ""
    imbalance_factor: float | None = None
    val_seen_by_backbone: bool = False
    dtype: str = "float16"
    command: str = ""


def write_arrays(
    directory: Path, splits: Mapping[str, Mapping[str, Any]], source: Source, head: Mapping[str, Any] | None = None
) -> FeatureCache:
    """Check arrays and write the cache of them.

    Args:
        directory: of the new cache; it must not exist.
        splits: train, test and perhaps val: ``features`` (N, D) or views (V, N, D), view 0 the plain one, and ``labels`` (N,) 0..K-1; ``rows`` (N,), the
            position of each sample in its source, is optional.
        source: their description.
        head: a stage-1 classifier, ``weight`` (K, D) and perhaps ``bias`` (K,).

    Raises:
        UserError: an array is missing, of another type or shape, holds NaN or infinity; there are fewer class names than classes; the directory exists.
    """
    checked = {split: checked_split(arrays, split) for split, arrays in splits.items()}
    arrays = _by_view(checked)
    if head is not None:
        if "weight" not in head:
            raise UserError(f"head: no array `weight`; it has {', '.join(head)}")
        parts = {name: as_numpy(head[name]) for name in ("weight", "bias") if name in head}
        arrays |= {f"head/{name}": torch.from_numpy(np.ascontiguousarray(part)) for name, part in parts.items()}
    spec = dataset_spec(source.dataset)
    K = _num_classes(arrays)
    names = source.class_names or spec.class_names() or tuple(str(k) for k in range(K))
    if source.class_names is not None and len(names) < K:
        raise UserError(
            f"{len(names)} class names are given, and the labels (or the head) are of {K} classes; one name a class, in label order"
        )
    counts = torch.bincount(arrays["train/labels"].clamp(0, len(names) - 1), minlength=len(names))  # labels outside are refused on writing
    dataset = DatasetInfo(
        spec.name, names, tuple(counts.tolist()), _identity(arrays, tuple(checked)), source.imbalance_factor, "given", source.val_seen_by_backbone
    )  # fmt: skip
    description = Description(
        source.name, dataset, BackboneInfo(source.backbone, _weights_hash(arrays), arrays["train/features/plain"].shape[1], source.stage1),
        {"evaluation": "imported features", "augmentation": "imported features"}, source.dtype,
        origin=f"imported from arrays; {source.stage1 or 'stage 1 not described'}", command=source.command,
    )  # fmt: skip
    return FeatureCache(directory, write_cache(directory, description, arrays))


def checked_split(arrays: Mapping[str, Any], where: str) -> Arrays:
    """The arrays of one split as NumPy's, their types and shapes checked; values are checked when the cache is written.

    Args:
        arrays: by name.
        where: name or file of the split, for messages.

    Raises:
        UserError: an array is missing, or of another type or shape.
    """
    for name in ("features", "labels"):
        if name not in arrays:
            hint = "; give --*-labels with a .npy" if where.endswith(".npy") else ""
            raise UserError(f"{where}: no array {name!r}; it has {', '.join(arrays) or 'none'}{hint}")
    checked = {name: as_numpy(arrays[name]) for name in ("features", "labels", "rows") if name in arrays}
    features, labels = checked["features"], checked["labels"]
    if features.ndim not in (2, 3) or not np.issubdtype(features.dtype, np.floating):
        raise UserError(
            f"{where}: features are {features.dtype} of shape {features.shape}, expected floating-point numbers (N, D) or (V, N, D)"
        )
    for name, array in checked.items():
        if name == "features":
            continue
        if not np.issubdtype(array.dtype, np.integer):
            raise UserError(f"{where}: {name} are {array.dtype}, expected integers" + (" 0..K-1" if name == "labels" else ""))
        if array.shape != features.shape[-2:-1] or not array.size:
            raise UserError(
                f"{where}: {name} have shape {array.shape} and features {features.shape}, expected one per row, and at least one"
            )
    if labels.min() < 0:
        raise UserError(f"{where}: labels: found {labels.min()}, expected 0..K-1")
    return checked


def hold_out(train: Arrays, fraction: float, seed: int) -> tuple[Arrays, Arrays]:
    """Take a share of every class of the training rows for validation, at most half a class; a class of one keeps it.

    Raises:
        UserError: the share is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise UserError(f"--val-fraction is {fraction}, expected a number between 0 and 1")
    generator = np.random.default_rng(derive_seed("subset", seed))
    chosen = []
    labels = train["labels"]
    for k in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == k))
        chosen.append(members[: min(round(fraction * members.size), members.size // 2)])
    held = np.zeros(labels.size, dtype=bool)
    held[np.concatenate(chosen)] = True
    rows = train.get("rows", np.arange(labels.size))
    plain = train["features"] if train["features"].ndim == 2 else train["features"][0]
    rest = {"features": train["features"][..., ~held, :], "labels": labels[~held], "rows": rows[~held]}
    return rest, {"features": plain[held], "labels": labels[held], "rows": rows[held]}


def as_numpy(array: Any) -> np.ndarray:
    """NumPy's or torch's array as NumPy's, of a type that both have: bfloat16 and 8-bit floats become float32, long doubles float64, other byte orders this machine's."""
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        known = not array.is_floating_point() or array.dtype in (torch.float16, torch.float32, torch.float64)
        return (array if known else array.float()).numpy()
    array = np.asarray(array)
    if array.dtype in (np.longdouble, np.clongdouble):
        return array.astype(np.float64 if array.dtype == np.longdouble else np.complex128)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _by_view(splits: Mapping[str, Arrays]) -> dict[str, Tensor]:
    """The arrays under their names in a cache, one for each view of a split."""
    by_name: dict[str, Tensor] = {}
    for split, arrays in splits.items():
        features = torch.from_numpy(np.ascontiguousarray(arrays["features"]))
        for v, view in enumerate(features if features.dim() == 3 else features.unsqueeze(0)):
            other = f"aug{v}" if split != "test" else "flip" if v == 1 else f"flip{v}"
            by_name[f"{split}/features/{other if v else 'plain'}"] = view
        by_name |= {f"{split}/{name}": torch.from_numpy(np.array(arrays[name], np.int64)) for name in ("labels", "rows") if name in arrays}
    return by_name


def _num_classes(arrays: Mapping[str, Tensor]) -> int:
    K = 1 + max(int(labels.max()) for name, labels in arrays.items() if name.endswith("/labels"))
    if K > MOST_CLASSES:
        raise UserError(f"labels: found {K - 1}, expected 0..K-1 with at most {MOST_CLASSES:,} classes")
    return max(K, arrays["head/weight"].shape[0]) if "head/weight" in arrays else K


def _weights_hash(arrays: Mapping[str, Tensor]) -> str:
    """Identity of the unknown weights behind the arrays: a hash of every view and of the head, which the backbone made."""
    names = sorted(name for name in arrays if "/features/" in name or name.startswith("head/"))
    return hashlib.sha256("".join(f"{name} {digest(arrays[name])}\n" for name in names).encode()).hexdigest()[:16]


def _identity(arrays: Mapping[str, Tensor], splits: tuple[str, ...]) -> str:
    """Identity of the splits from label and source row where rows are given, else from label and the features' own bytes."""
    canonical = {}
    for split in splits:
        rows = arrays.get(f"{split}/rows")
        names = [digest(row) for row in arrays[f"{split}/features/plain"]] if rows is None else [str(row) for row in rows.tolist()]
        canonical[split] = listed_rows(names, arrays[f"{split}/labels"].tolist())
    return split_hash(canonical)
