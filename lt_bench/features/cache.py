"""Reading a feature cache, in memory or memory-mapped, with every checksum verified."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from lt_bench.core.errors import UserError
from lt_bench.core.tensors import COMPRESSED, stored_tensor
from lt_bench.features.encoding import decode_affine8
from lt_bench.features.manifest import ArrayInfo, Manifest, key_fields, read_manifest
from lt_bench.features.write import DIVISOR, MEAN, digest

LONGEST = 100
"""Characters of a field's value in a message."""


@dataclass(frozen=True)
class Head:
    """A linear classifier: weight (K, D) and bias (K,), float32; a head without bias has zeros."""

    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        """Check that weight and bias are tensors with the dimensions of a linear layer.

        Raises:
            UserError: one of them is not; says what to pass.
        """
        for name, dims, shape in (("weight", 2, "(K, D)"), ("bias", 1, "(K,)")):
            value = getattr(self, name)
            if not isinstance(value, Tensor) or value.dim() != dims:
                said = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise UserError(f"Head(weight, bias): {name} is {said}, expected a tensor {shape}; a head without bias has torch.zeros(K)")


@dataclass(frozen=True)
class FittedHead(Head):
    """A linear classifier that was fitted on features: how, in words, and whether the solver reached the optimum."""

    words: str
    converged: bool


@dataclass(frozen=True)
class FeatureSplit:
    """The features of one split.

    Attributes:
        name: train, val or test.
        views: V view names, ``plain`` first.
        blocks: runs of feature rows (n, D) whose concatenation is (V * N, D), view after view: one block in memory, one per stored part when mapped.
        labels: (N,) int64.
        rows: (N,) row of each sample in its source.
    """

    name: str
    views: tuple[str, ...]
    blocks: tuple[Tensor, ...]
    labels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return self.labels.numel()

    @property
    def device(self) -> torch.device:
        """Device of the labels and of gathered features."""
        return self.labels.device

    @property
    def resident(self) -> bool:
        """Whether the features are stored on that device too; else they are copied to it batch by batch."""
        return self.blocks[0].device == self.device

    @property
    def trained(self) -> tuple[nn.Parameter, ...]:
        """No parameter: stored features are frozen."""
        return ()

    @property
    def moves(self) -> bool:
        """False: stored features do not change during a fit."""
        return False

    @property
    def work(self) -> float:
        """0: reading from memory costs no operations."""
        return 0.0

    def gather(self, index: Tensor) -> Tensor:
        """Rows ``index`` (any shape, values v * N + i) of the concatenated views, in the stored dtype, with a last dimension D."""
        shape = (*index.shape, self.blocks[0].shape[1])  # explicit, since a process's share of a batch may be empty
        flat = index.reshape(-1).to(self.blocks[0].device)
        if len(self.blocks) == 1:
            return self.blocks[0].index_select(0, flat).to(self.device).view(shape)
        out = torch.empty(flat.numel(), shape[-1], dtype=self.blocks[0].dtype)
        start = 0
        for block in self.blocks:
            inside = ((flat >= start) & (flat < start + block.shape[0])).nonzero().squeeze(1)
            out[inside] = block[flat[inside] - start]
            start += block.shape[0]
        return out.to(self.device).view(shape)

    def view(self, name: str) -> Tensor:
        """The features (N, D) of one view; copied only if they are in several mapped parts or on another device."""
        n, v = len(self), self.views.index(name)
        runs, start = [], 0
        for block in self.blocks:
            first, last = max(0, v * n - start), min(block.shape[0], (v + 1) * n - start)
            runs += [block[first:last]] if first < last else []
            start += block.shape[0]
        return (runs[0] if len(runs) == 1 else torch.cat(runs)).to(self.device)


FitHead = Callable[[FeatureSplit, FeatureSplit | None, int], FittedHead]
"""Fits a head: takes training features, validation features that may choose its ridge (or None), and the number of classes K."""


@dataclass(frozen=True)
class FeatureCache:
    """An opened cache, of which only the manifest is read."""

    path: Path
    manifest: Manifest

    @property
    def key(self) -> str:
        """The cache's identity (``Manifest.key``)."""
        return self.manifest.key

    def has(self, split: str) -> bool:
        """Whether the cache has this split."""
        return split in self.manifest.views

    def split(
        self, name: str, *, views: Sequence[str] | None = None, device: str | torch.device = "cpu", mapped: bool = False
    ) -> FeatureSplit:
        """Load a split, every checksum verified.

        Args:
            name: train, val or test.
            views: which views, by default all stored ones.
            device: of features and labels.
            mapped: memory-map the features (not of ``affine8`` or compressed files), for caches larger than memory; labels are on the device.

        Raises:
            UserError: no such split or view; a file missing, truncated or altered, by name.
        """
        if not self.has(name):
            raise UserError(f"{self.path}: this cache has no {name} split; it has {', '.join(self.manifest.views)}")
        names = tuple(views) if views is not None else self.manifest.views[name]
        for view in names:
            if view not in self.manifest.views[name]:
                raise UserError(f"{self.path}: {name} has no view {view!r}; it has {', '.join(self.manifest.views[name])}")
        keys = [f"{name}/features/{view}" for view in names]
        blocks = self._mapped_blocks(keys) if mapped else (self._loaded_block(keys, torch.device(device)),)
        rows = self.stored(f"{name}/rows")
        return FeatureSplit(name, names, blocks, self.labels(name).to(device), rows.to(device))

    def labels(self, name: str) -> Tensor:
        """The labels (N,) of a split, int64.

        Raises:
            UserError: as ``split``; or they are not 0..K-1, or not those that the train counts say.
        """
        labels = self.stored(f"{name}/labels")
        self._check_labels(name, labels)
        return labels

    def stored(self, array: str) -> Tensor:
        """An array of the manifest as it is stored, its checksum verified. Raises as ``split``."""
        return torch.cat(list(self._parts(array)))

    def bytes_of(self, name: str) -> int:
        """Memory of the features of a split, bytes."""
        infos = [self._info(f"{name}/features/{view}") for view in self.manifest.views[name]]
        return sum(info.shape[0] * info.shape[1] * (4 if info.dtype == "float32" else 2) for info in infos)

    @property
    def mappable(self) -> bool:
        """Whether the stored arrays can be memory-mapped."""
        files = {part.file for info in self.manifest.arrays.values() for part in info.parts}
        return self.manifest.dtype != "affine8" and not any(file.endswith(COMPRESSED) for file in files)

    def head(self) -> Head | None:
        """The stage-1 classifier, or None where the cache has none."""
        if "head/weight" not in self.manifest.arrays:
            return None
        weight = self.stored("head/weight")
        bias = self.stored("head/bias") if "head/bias" in self.manifest.arrays else torch.zeros(weight.shape[0])
        return Head(weight, bias)

    def standardisation(self) -> tuple[Tensor, Tensor] | None:
        """Mean and divisor (D,), float64, by which the cache's features were standardised; None where they are as they were given."""
        if MEAN not in self.manifest.arrays:
            return None
        mean, divisor = (self.stored(name) for name in (MEAN, DIVISOR))
        return mean, divisor

    def verify(self) -> None:
        """Check every checksum and all labels of the cache; raises UserError at the first that fails."""
        for name in self.manifest.arrays:
            for _ in self._parts(name):
                pass
        for split in self.manifest.views:
            self.labels(split)

    def _check_labels(self, name: str, labels: Tensor) -> None:
        counts = self.manifest.dataset.train_counts
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(counts):
            raise UserError(
                f"{self.path}: {name}/labels holds {low if low < 0 else high}, expected 0..{len(counts) - 1}; make the cache again"
            )
        if name == "train" and torch.bincount(labels, minlength=len(counts)).tolist() != list(counts):
            raise UserError(f"{self.path}: the train_counts of the manifest are not those of train/labels; make the cache again")

    def _loaded_block(self, keys: Sequence[str], device: torch.device) -> Tensor:
        infos = [self._info(key) for key in keys]
        dtype = torch.float16 if infos[0].dtype == "uint8" else getattr(torch, infos[0].dtype)
        block = torch.empty(sum(info.shape[0] for info in infos), infos[0].shape[1], dtype=dtype, device=device)
        start = 0
        for key, info in zip(keys, infos, strict=True):
            coding = [self.stored(f"{key}.{field}") for field in ("scale", "offset")] if info.dtype == "uint8" else []
            for part in self._parts(key):
                block[start : start + part.shape[0]] = decode_affine8(part, *coding) if coding else part
                start += part.shape[0]
        return block

    def _mapped_blocks(self, keys: Sequence[str]) -> tuple[Tensor, ...]:
        if not self.mappable:
            raise UserError(
                f"{self.path}: a cache of affine8 or compressed files cannot be mapped, it is decoded on loading; read it into memory"
            )
        return tuple(part for key in keys for part in self._parts(key))

    def _info(self, name: str) -> ArrayInfo:
        if name not in self.manifest.arrays:
            raise UserError(f"{self.path}: the manifest lists no array {name}; make the cache again")
        return self.manifest.arrays[name]

    def _parts(self, name: str):
        info = self._info(name)
        for part in info.parts:
            path = self.path / part.file
            if not path.is_file():
                raise UserError(f"{path}: missing, and the cache needs it for {name}; make the cache again")
            try:
                tensor = stored_tensor(path, part.key)
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path}: damaged or truncated ({error}); make the cache again") from None
            if tensor.shape[0] != part.rows or tuple(tensor.shape[1:]) != info.shape[1:] or str(tensor.dtype) != f"torch.{info.dtype}":
                raise UserError(
                    f"{path}: {name} is {tensor.dtype} of shape {tuple(tensor.shape)}, the manifest says {info.dtype} {info.shape}"
                )
            if digest(tensor) != part.sha256:
                raise UserError(
                    f"{path}: {name} does not have the checksum of the manifest; the file was altered or damaged, make the cache again"
                )
            yield tensor


def open_cache(path: str | Path) -> FeatureCache:
    """Open the cache in directory ``path``; reads the manifest only."""
    directory = Path(path)
    return FeatureCache(directory, read_manifest(directory))


def require(cache: FeatureCache, **expected: object) -> None:
    """Refuse a cache whose key fields are not the expected ones.

    Args:
        cache: an opened cache.
        expected: any of the fields of ``key_fields``, e.g. ``split_hash="..."``.

    Raises:
        UserError: a field differs; names it.
    """
    fields = key_fields(cache.manifest)
    for name, value in expected.items():
        if fields[name] != value:
            is_, wanted = (text if len(text) <= LONGEST else f"{text[:LONGEST]}..." for text in map(str, (fields[name], value)))
            raise UserError(f"{cache.path}: {name} is {is_}, expected {wanted}; name the right cache with --cache or make it again")
