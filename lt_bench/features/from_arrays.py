"""A feature cache of arrays in memory: features and labels of any modality, NumPy's or torch's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lt_bench.core.content import row_hashes
from lt_bench.core.errors import UserError
from lt_bench.data.hold_out import hold_out
from lt_bench.data.profiles import check_imbalance_factor
from lt_bench.data.specs import dataset_spec
from lt_bench.data.splits import listed_rows, split_hash
from lt_bench.features.cache import FeatureCache, FeatureSplit, FitHead, FittedHead
from lt_bench.features.classes import renumbered, require_names
from lt_bench.features.independence import Seen
from lt_bench.features.manifest import BackboneInfo, DatasetInfo, with_head
from lt_bench.features.moments import Moments, moments
from lt_bench.features.write import STANDARDISED, Description, check_features, digest, write_cache

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
        relabel: number the ids that have rows 0..K-1; names (of ids, of data set, or the ids themselves) stay with their classes.
        drop_empty: the same for classes with training rows alone; rows of others are left out.
        standardise: store features with mean 0 and spread 1 over the training rows in each dimension; a head is brought over.
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
    relabel: bool = False
    drop_empty: bool = False
    standardise: bool = False

    def __post_init__(self) -> None:
        """Refuse an imbalance factor that is not finite or below 1.

        Raises:
            UserError: it is.
        """
        if self.imbalance_factor is not None:
            check_imbalance_factor(self.imbalance_factor)


@dataclass(frozen=True)
class Prepared:
    """Checked arrays, ready to be written.

    Attributes:
        source: their description.
        arrays: by their names in a cache; features as they were given, the head one of features as they are stored.
        names: K class names.
        standard: moments that features are standardised by, where they are.
        left_out: rows without a class, by split.
        digests: identity of the splits, and of the weights behind the features.
        fitted: the head, where it was fitted on these features.
    """

    source: Source
    arrays: dict[str, Tensor]
    names: tuple[str, ...]
    standard: Moments | None
    left_out: dict[str, int]
    digests: tuple[str, str]
    fitted: FittedHead | None = None

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.names)

    def with_fitted_head(self, fit_head: FitHead) -> Prepared:
        """The arrays with a head fitted on the training rows, as they are stored; validation chooses its ridge where the backbone has not seen it.

        Raises:
            UserError: features hold NaN or infinity.
        """
        check_features(self.arrays)
        val = self._plain("val") if "val/labels" in self.arrays and not self.source.val_seen_by_backbone else None
        head = fit_head(self._plain("train"), val, self.num_classes)
        source = replace(self.source, stage1=with_head(self.source.stage1, head.words))
        arrays = {**self.arrays, "head/weight": head.weight, "head/bias": head.bias}
        return replace(self, source=source, arrays=arrays, digests=(self.digests[0], _weights_hash(arrays)), fitted=head)

    def _plain(self, split: str) -> FeatureSplit:
        """The plain view of a split in memory, as it will be stored but for the precision."""
        features, labels = self.arrays[f"{split}/features/plain"], self.arrays[f"{split}/labels"]
        plain = features if self.standard is None else self.standard.standardised(features)
        return FeatureSplit(split, ("plain",), (plain,), labels, torch.arange(len(labels)))


def prepare_arrays(splits: Mapping[str, Mapping[str, Any]], source: Source, head: Mapping[str, Any] | None = None) -> Prepared:
    """Check types and shapes of arrays, and number and name their classes.

    Args:
        splits: train, test and perhaps val: ``features`` (N, D) or views (V, N, D), view 0 the plain one, and ``labels`` (N,) 0..K-1; ``rows`` (N,), the
            position of each sample in its source, is optional.
        source: their description.
        head: a stage-1 classifier of the features as they are given, ``weight`` (K, D) and perhaps ``bias`` (K,).

    Raises:
        UserError: an array is missing, or of another type or shape; class names are not one a class.
    """
    checked = {split: checked_split(arrays, split) for split, arrays in splits.items()}
    parts = None if head is None else _head_parts(head)
    names, left_out = source.class_names or dataset_spec(source.dataset).class_names(), {}
    if source.relabel or source.drop_empty:
        checked, numbering = renumbered(checked, source.drop_empty)
        names = numbering.of_names(names) if names else tuple(map(str, numbering.ids))
        parts, left_out = parts and numbering.of_head(parts), numbering.without_rows
    arrays = _by_view(checked)
    arrays |= {f"head/{name}": torch.from_numpy(np.ascontiguousarray(part)) for name, part in (parts or {}).items()}
    K = _num_classes(arrays)
    names = require_names(names or (), K) if source.class_names is not None else names or tuple(map(str, range(K)))
    digests, standard = (_identity(arrays, tuple(checked)), _weights_hash(arrays)), None
    if source.standardise:
        check_features(arrays)
        standard = moments(arrays["train/features/plain"])
        arrays |= _standardised_head(arrays, standard)
    return Prepared(source, arrays, names, standard, left_out, digests)


def write_prepared(directory: Path, prepared: Prepared) -> FeatureCache:
    """Write the cache of prepared arrays into a new directory.

    Raises:
        UserError: features hold NaN or infinity, the stored type loses what they say, or the directory exists.
    """
    source, arrays, K = prepared.source, prepared.arrays, prepared.num_classes
    counts = torch.bincount(arrays["train/labels"].clamp(0, K - 1), minlength=K)  # labels outside are refused on writing
    split_hash, weights_hash = prepared.digests
    dataset = DatasetInfo(
        dataset_spec(source.dataset).name, prepared.names, tuple(counts.tolist()), split_hash, source.imbalance_factor, "given", source.val_seen_by_backbone
    )  # fmt: skip
    transform = {"evaluation": "imported features", "augmentation": "imported features"}
    if prepared.standard is not None:
        transform["standardised"] = STANDARDISED
    description = Description(
        source.name, dataset, BackboneInfo(source.backbone, weights_hash, arrays["train/features/plain"].shape[1], source.stage1),
        transform, source.dtype, origin=f"imported from arrays; {source.stage1 or 'stage 1 not described'}", command=source.command,
        audit={"left_out": prepared.left_out} if prepared.left_out else {}, independence=Seen().record(),
    )  # fmt: skip
    return FeatureCache(directory, write_cache(directory, description, arrays, prepared.standard))


def _head_parts(head: Mapping[str, Any]) -> Arrays:
    if "weight" not in head:
        raise UserError(f"head: no array `weight`; it has {', '.join(head)}")
    return {name: as_numpy(head[name]) for name in ("weight", "bias") if name in head}


def _standardised_head(arrays: Mapping[str, Tensor], standard: Moments) -> dict[str, Tensor]:
    """The head as one of standardised features, with the logits that it had."""
    if "head/weight" not in arrays or arrays["head/weight"].shape[1:] != standard.mean.shape:
        return {}  # another shape is refused on writing
    weight, bias = standard.of_head(arrays["head/weight"], arrays["head/bias"].double() if "head/bias" in arrays else 0.0)
    return {"head/weight": weight, "head/bias": bias}


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
            raise UserError(f"{where}: no array {name!r}; it has {', '.join(arrays) or 'none'}")
    checked = {name: as_numpy(arrays[name]) for name in ("features", "labels", "rows") if name in arrays}
    features, labels = checked["features"], checked["labels"]
    if features.ndim not in (2, 3) or not np.issubdtype(features.dtype, np.floating):
        raise UserError(
            f"{where}: features are {features.dtype} of shape {features.shape}, expected floating-point numbers (N, D) or (V, N, D)"
        )
    if not features.shape[-1] or (features.ndim == 3 and not len(features)):
        lacking = "view" if features.shape[-1] else "dimension"
        raise UserError(f"{where}: features have no {lacking} (they are of shape {features.shape}); extract them again")
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


def held_out(train: Arrays, fraction: float, seed: int) -> tuple[Arrays, Arrays]:
    """Training rows and those held out for validation, about a share of every class by the content of the rows (``data.hold_out``); a class of one keeps it.

    Raises:
        UserError: the share is not between 0 and 1, or the seed is below 0.
    """
    if not 0 < fraction < 1:
        raise UserError(f"--val-fraction is {fraction}, expected a number between 0 and 1")
    labels = train["labels"]
    rows = train.get("rows", np.arange(labels.size))
    plain = train["features"] if train["features"].ndim == 2 else train["features"][0]
    parts = hold_out(labels, {"val": fraction}, [f"{value:016x}" for value in row_hashes(plain)], seed)
    rest, held = parts["train"], parts["val"]
    return (
        {"features": train["features"][..., rest, :], "labels": labels[rest], "rows": rows[rest]},
        {"features": plain[held], "labels": labels[held], "rows": rows[held]},
    )


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
    weight, dim = arrays.get("head/weight"), arrays["train/features/plain"].shape[-1]
    if weight is not None and tuple(weight.shape) == (dim, K) != (K, dim):
        raise UserError(f"head/weight has shape {tuple(weight.shape)}, expected {(K, dim)} = (classes, feature dimension); transpose it")
    return K if weight is None else max(K, weight.shape[0])


def _weights_hash(arrays: Mapping[str, Tensor]) -> str:
    """Identity of the unknown weights behind the arrays: a hash of every view and of the head, which the backbone made."""
    names = sorted(name for name in arrays if "/features/" in name or name.startswith("head/"))
    return hashlib.sha256("".join(f"{name} {digest(arrays[name])}\n" for name in names).encode()).hexdigest()[:16]


def _identity(arrays: Mapping[str, Tensor], splits: tuple[str, ...]) -> str:
    """Identity of the splits from label and source row where rows are given, else from label and the features' own bytes."""
    canonical = {}
    for split in splits:
        rows = arrays.get(f"{split}/rows")
        plain = arrays[f"{split}/features/plain"].numpy()
        names = [hashlib.sha256(row.tobytes()).hexdigest() for row in plain] if rows is None else map(str, rows.tolist())
        canonical[split] = listed_rows(names, arrays[f"{split}/labels"].tolist())
    return split_hash(canonical)
