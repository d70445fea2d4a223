"""``lt.Cache``: frozen features, from a directory or from arrays in memory."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lt_bench.bench.linear_head import fit_linear_head
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.core.errors import UserError
from lt_bench.core.leftovers import temporary_directory
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.audit import as_arguments
from lt_bench.features.cache import FeatureCache
from lt_bench.features.collapse import collapse_of
from lt_bench.features.from_arrays import Source, checked_split, prepare_arrays, write_prepared
from lt_bench.features.locate import find_cache
from lt_bench.features.manifest import read_manifest

Rows = tuple[ArrayLike | Tensor, ArrayLike | Tensor]
"""Features (N, D), or views (V, N, D) of which the first is the plain one, and labels (N,), integers 0..K-1."""


@dataclass(frozen=True, repr=False)
class Cache(FeatureCache):
    """A feature cache: frozen features and labels of train, test and perhaps validation, with their identity.

    Attributes:
        path: its directory.
        manifest: everything about it but the numbers.
    """

    _benches: dict[str, CacheSource] = field(default_factory=dict, compare=False, repr=False)
    _temporary: tempfile.TemporaryDirectory[str] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_arrays(
        cls,
        X: ArrayLike | Tensor,
        y: ArrayLike | Tensor,
        *,
        test: Rows,
        val: Rows | None = None,
        head: Literal["fit"] | tuple[ArrayLike | Tensor, ArrayLike | Tensor] | None = "fit",
        name: str = "arrays",
        class_names: Sequence[str] | None = None,
        backbone: str = "unknown",
        val_seen_by_backbone: bool = False,
        dtype: Literal["float16", "float32", "affine8"] = "float32",
        directory: str | Path | None = None,
        relabel: bool = False,
        drop_empty: bool = False,
        standardise: bool = False,
    ) -> Cache:
        """Make a cache from feature arrays of NumPy or torch. Findings of the audit are raised as warnings, and kept in ``manifest.audit``.

        Args:
            X: training features (N, D), or V views of them (V, N, D), the plain one first.
            y: training labels (N,), integers 0..K-1.
            test: features (N, D) or (V, N, D) and labels (N,) to measure on.
            val: features and labels to choose on, shaped as those of ``test``; rows that the backbone was not trained on.
            head: the stage-1 head that strategies start from. ``fit``: logistic regression on the training rows, solved to its optimum; its ridge is chosen on validation where there is one that the backbone has not seen, else on parts of the training rows. A pair: weight (K, D) and bias (K,) of the backbone's own classifier. None: there is none.
            name: name of the cache.
            class_names: K names in label order.
            backbone: name of the network that made the features.
            val_seen_by_backbone: whether that network was trained on the validation rows; these then choose nothing.
            dtype: stored precision.
            directory: directory of the cache; by default a temporary one, which is removed with the object.
            relabel: renumber the labels that occur to 0..K-1; each class keeps its name, or its old label as its name.
            drop_empty: renumber the labels that occur in training, and leave out the rows of other classes.
            standardise: store every dimension with mean 0 and spread 1 over the training rows; a run's ``predict`` takes features as they are given here.

        Raises:
            UserError: an array is of another shape or type, or holds NaN or infinity; the stored precision loses what the features say; the directory exists.
        """
        if not (head is None or head == "fit" or (isinstance(head, tuple | list) and len(head) == 2)):
            raise UserError(f"head is {head!r}, expected 'fit', a pair (weight, bias), or None")
        splits = {split: rows for split, rows in (("train", (X, y)), ("val", val), ("test", test)) if rows is not None}
        arrays = {split: checked_split({"features": rows[0], "labels": rows[1]}, split) for split, rows in splits.items()}
        source = Source(
            name, "embeddings", None if class_names is None else tuple(class_names), backbone, "", None, val_seen_by_backbone, dtype,
            relabel=relabel, drop_empty=drop_empty, standardise=standardise,
        )  # fmt: skip
        temporary = temporary_directory() if directory is None else None
        place = Path(str(directory)) if temporary is None else Path(temporary.name) / "cache"
        try:
            prepared = prepare_arrays(arrays, source, _head_arrays(head))
            if head == "fit":
                prepared = prepared.with_fitted_head(fit_linear_head)
            cache = write_prepared(place, prepared)
        except UserError as error:
            raise UserError(as_arguments(str(error))) from None
        stopped = [f"stage-1 head: {one.words}" for one in (prepared.fitted,) if one is not None and not one.converged]
        for line in [*stopped, *map(as_arguments, cache.manifest.audit["notes"])]:
            warnings.warn(line, stacklevel=2)
        return cls(cache.path, cache.manifest, _temporary=temporary)

    def __repr__(self) -> str:
        """Name, size, key and path of the cache."""
        info = self.manifest.dataset
        size = f"{sum(info.train_counts):,} x {self.manifest.backbone.dim}, K = {info.num_classes:,}"
        return f"Cache({self.manifest.name!r}, {size}, key {self.key}, {str(self.path)!r})"

    def collapse(self) -> dict[str, float]:
        """Within- over between-class scatter of each split, as of ``features.class_scatter.scatter_ratio``: far smaller on train than on unseen images where stage 1 memorised."""
        return collapse_of(self)

    def bench(self, accelerator: str = "auto") -> CacheSource:
        """The cache opened for fits; features are loaded once and stay with this object."""
        if accelerator not in self._benches:
            self._benches[accelerator] = CacheSource(self, Hardware(accelerator))
        return self._benches[accelerator]


def open_cache(name_or_path: str | Path) -> Cache:
    """The feature cache in a directory, or of this name or key (or its first digits) in ``$LT_BENCH_HOME/caches`` or among the shipped ones (``lt-bench list caches``).

    Raises:
        UserError: there is no such cache, or it is damaged.
    """
    path = Path(name_or_path) if isinstance(name_or_path, Path) else find_cache(name_or_path)
    return Cache(path, read_manifest(path))


def _head_arrays(head: Any) -> dict[str, Any] | None:
    """``weight`` and ``bias`` of a pair; None for anything else."""
    return {"weight": floats(head[0]), "bias": floats(head[1])} if isinstance(head, tuple | list) else None


def floats(array: ArrayLike | Tensor) -> Tensor:
    """Convert an array of NumPy or torch to a float32 tensor."""
    return torch.as_tensor(array if isinstance(array, Tensor) else np.asarray(array)).detach().float()
