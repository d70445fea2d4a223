"""Writing a feature cache: checks, 8-bit encoding, checksums, and one rename at the end."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.core.files import give_usual_mode, put_on_disk
from lt_bench.core.leftovers import temporary_beside
from lt_bench.core.tensors import save_tensors
from lt_bench.features.audit import audit, require_precision
from lt_bench.features.encoding import DTYPES, encode, round_trip
from lt_bench.features.locate import elsewhere
from lt_bench.features.manifest import MANIFEST_NAME, ArrayInfo, BackboneInfo, DatasetInfo, Manifest, Part
from lt_bench.features.moments import Moments, chunks, moments

SPLITS = ("train", "val", "test")
MEAN, DIVISOR = "standardise/mean", "standardise/divisor"
"""Arrays (D,) of a cache of standardised features, by which others are standardised the same way."""
STANDARDISED = "mean 0 and spread 1 of the training rows, per dimension"
"""The words of a manifest's transform for standardised features."""


@dataclass(frozen=True)
class Description:
    """Description of a new cache; the fields are those of ``Manifest``.

    ``dtype`` is ``float16``, ``float32`` or ``affine8`` (8 bits per value, affine per dimension).
    """

    name: str
    dataset: DatasetInfo
    backbone: BackboneInfo
    transform: dict[str, str]
    dtype: str = "float16"
    origin: str = ""
    command: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)
    independence: dict[str, Any] = field(default_factory=dict)


def digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's bytes in row-major order."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().data).hexdigest()


def write_cache(directory: Path, description: Description, arrays: Mapping[str, Tensor], standard: Moments | None = None) -> Manifest:
    """Write a whole cache from arrays in memory.

    Args:
        directory: of the new cache, see ``new_place``.
        description: of the arrays.
        arrays: by name: ``<split>/features/<view>`` (N, D), ``<split>/labels`` (N,), ``<split>/rows`` (N,), ``head/weight`` (K, D) and ``head/bias`` (K,).
            train and test are required, with a ``plain`` view; val, other views and the head are optional. The head is one of the features as they are stored.
        standard: moments of the plain training rows; all features are stored with these brought to mean 0 and spread 1.

    Raises:
        UserError: an array is missing, has the wrong shape, holds NaN or infinity, or labels outside 0..K-1; the stored type loses what the features say
            (``audit.require_precision``); the directory exists or cannot be written.
    """
    place = new_place(directory)
    check_arrays(description, arrays, standard is not None)
    of_train = standard or moments(arrays["train/features/plain"])
    stored = encoded(description.dtype, arrays, standard) | standardisation(standard)
    precision = require_precision(description.dtype, round_trips(arrays, stored, standard), arrays, of_train, standard)
    noticed = audit(arrays, of_train, description.dataset.class_names, precision, standard is not None)
    description = replace(description, audit={**description.audit, **noticed})
    return write_stored(place, description, stored)


def write_stored(place: Path, description: Description, stored: Mapping[str, Tensor], ending: str = "") -> Manifest:
    """Write a whole cache from arrays in their stored types.

    Args:
        place: of the new cache, from ``new_place``.
        description: of the arrays.
        stored: by name, as ``encoded`` makes them.
        ending: of the names of the files, ``core.tensors.COMPRESSED`` for compressed ones.

    Raises:
        UserError: the directory cannot be written.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in stored.items():
        groups.setdefault(f"{name.split('/')[0]}.safetensors{ending}", {})[name] = tensor
    staging = temporary_beside(place)
    try:
        staging.mkdir(parents=True)
        for file, tensors in groups.items():
            save_tensors(tensors, staging / file)
        parts = {name: [(file, name, tensor)] for file, tensors in groups.items() for name, tensor in tensors.items()}
        return publish(staging, place, description, parts)
    except OSError as error:
        raise unwritten(place, error) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def unwritten(place: Path, error: OSError, then: str = "") -> UserError:
    """The error of a cache that cannot be written; ``then`` says what to do where another place would lose what is done."""
    reason, then = error.strerror or error, then or f"or {elsewhere(place)}"
    return UserError(f"{place}: cannot write the cache ({reason}); free the disk, {then}")


def new_place(directory: Path) -> Path:
    """The directory for a new cache, links resolved; only an empty folder may exist there.

    Raises:
        UserError: a file, or a folder that is not empty, exists there.
    """
    place = Path(os.path.realpath(directory))  # unlike Path.resolve, accepts a circle of links
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UserError(f"{directory}: exists already; name a new place or an empty folder")
    return place


def publish(staging: Path, directory: Path, description: Description, parts: Mapping[str, list[tuple[str, str, Tensor]]]) -> Manifest:
    """Write the manifest of the files in ``staging`` and rename the whole to ``directory``.

    ``parts`` gives for every array its parts in row order: (file, key in the file, the tensor stored there).
    """
    infos = {}
    for name, pieces in parts.items():
        shape = (sum(tensor.shape[0] for *_, tensor in pieces), *pieces[0][2].shape[1:])
        dtype = str(pieces[0][2].dtype).removeprefix("torch.")
        infos[name] = ArrayInfo(shape, dtype, tuple(Part(file, key, tensor.shape[0], digest(tensor)) for file, key, tensor in pieces))
    views = {}
    for split in SPLITS:
        names = [name.split("/")[2] for name in infos if name.startswith(f"{split}/features/") and "." not in name]
        if names:
            views[split] = tuple(sorted(names, key=_view_order))
    manifest = Manifest(
        name=description.name, dataset=description.dataset, backbone=description.backbone, transform=description.transform,
        dtype=description.dtype, views=views, arrays=infos, origin=description.origin, command=description.command,
        created_with={**{name: _version(name) for name in ("lt-bench", "torch", "torchvision")}, **description.extra},
        audit=description.audit, independence=description.independence,
    )  # fmt: skip
    (staging / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    for path in staging.glob(".*"):  # temporary files of a killed process
        path.unlink()
    for path in list(staging.iterdir()):
        give_usual_mode(path)
        put_on_disk(path)
    put_on_disk(staging)
    staging.rename(directory)
    put_on_disk(directory.parent)
    return manifest


def check_arrays(description: Description, arrays: Mapping[str, Tensor], standardise: bool = False) -> None:
    """Refuse invalid arrays; the message has the array and the reason. The range of a stored type is that of standardised features where they are."""
    K, D = description.dataset.num_classes, description.backbone.dim
    if description.dtype not in (*DTYPES, "affine8"):
        raise UserError(f"dtype {description.dtype!r} is not one of float16, float32, affine8")
    if len(description.dataset.class_names) != K:
        raise UserError(f"{len(description.dataset.class_names)} class names for {K} classes")
    for split in SPLITS:
        views = {name: tensor for name, tensor in arrays.items() if name.startswith(f"{split}/features/")}
        if not views and split == "val":
            continue
        if f"{split}/features/plain" not in views:
            raise UserError(f"{split}/features/plain is missing: a cache needs the plain view of every image")
        _check_split(split, views, arrays.get(f"{split}/labels"), K, D)
        _check_rows(split, arrays.get(f"{split}/rows"), arrays[f"{split}/labels"].numel())
        if description.dtype != "float32" and not standardise:
            _check_half_range(views)
    counts = torch.bincount(arrays["train/labels"].long(), minlength=K)
    if counts.tolist() != list(description.dataset.train_counts):
        raise UserError("train/labels: its images per class are not the train_counts of the description")
    if "head/weight" in arrays and tuple(arrays["head/weight"].shape) != (K, D):
        raise UserError(f"head/weight has shape {tuple(arrays['head/weight'].shape)}, expected ({K}, {D}) = (classes, feature dimension)")
    if "head/bias" in arrays and tuple(arrays["head/bias"].shape) != (K,):
        raise UserError(f"head/bias has shape {tuple(arrays['head/bias'].shape)}, expected ({K},)")
    for name in ("head/weight", "head/bias"):
        if name in arrays and not bool(torch.isfinite(arrays[name].float()).all()):
            raise UserError(f"{name} holds NaN or infinity")


def _check_split(split: str, views: Mapping[str, Tensor], labels: Tensor | None, K: int, D: int) -> None:
    if labels is None:
        raise UserError(f"{split}/labels is missing")
    if labels.dim() != 1 or labels.is_floating_point():
        raise UserError(f"{split}/labels: expected a vector of integers, got {labels.dtype} of shape {tuple(labels.shape)}")
    if labels.numel() == 0:
        raise UserError(f"{split}/labels is empty")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= K:
        raise UserError(
            f"{split}/labels: found {low if low < 0 else high}, expected 0..{K - 1}"
            + (" (labels from 1?)" if low == 1 and high == K else "")
        )
    for name, tensor in views.items():
        if tensor.dim() != 2 or tuple(tensor.shape) != (labels.numel(), D):
            raise UserError(f"{name} has shape {tuple(tensor.shape)}, expected ({labels.numel()}, {D}) = (labels, feature dimension)")
    check_features(views)


def check_features(arrays: Mapping[str, Tensor]) -> None:
    """Refuse NaN and infinity; names the array, the number of rows and the first.

    Raises:
        UserError: there is one.
    """
    for name, tensor in arrays.items():
        if "/features/" not in name:
            continue
        bad = torch.cat([~torch.isfinite(rows).all(1) for _, rows in chunks(tensor)])
        if bool(bad.any()):
            raise UserError(
                f"{name}: NaN or infinity in {int(bad.sum())} rows, the first is row {int(bad.nonzero()[0])}; leave them out or extract them again"
            )


def _check_rows(split: str, rows: Tensor | None, n: int) -> None:
    if rows is not None and (rows.shape != (n,) or rows.is_floating_point()):
        raise UserError(f"{split}/rows: expected {n} integers, one per label, got {rows.dtype} of shape {tuple(rows.shape)}")


def _check_half_range(views: Mapping[str, Tensor]) -> None:
    """Refuse values beyond the range of float16, which affine8 is decoded to as well."""
    for name, tensor in views.items():
        if any(float(rows.abs().max()) > torch.finfo(torch.float16).max for _, rows in chunks(tensor)):
            raise UserError(
                f"{name}: values beyond the range of float16; store them with --dtype float32 or standardise them with --standardise"
            )


def encoded(dtype: str, arrays: Mapping[str, Tensor], standard: Moments | None = None) -> dict[str, Tensor]:
    """Arrays in their stored types, by the names in ``write_cache``; ``affine8`` features with scale and offset beside the codes.

    Args:
        dtype: float16, float32 or affine8.
        arrays: by name.
        standard: moments that features are standardised by, if they are.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in arrays.items():
        if "/features/" in name:
            stored |= encode(dtype, name, tensor, standard)
        else:
            stored[name] = tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64).contiguous()
    for split in SPLITS:
        if f"{split}/labels" in stored and f"{split}/rows" not in stored:
            stored[f"{split}/rows"] = torch.arange(stored[f"{split}/labels"].numel())
    return stored


def standardisation(standard: Moments | None) -> dict[str, Tensor]:
    """The arrays by which features were standardised; none where they were not."""
    return {} if standard is None else {MEAN: standard.mean, DIVISOR: standard.divisor}


def round_trips(arrays: Mapping[str, Tensor], stored: Mapping[str, Tensor], standard: Moments | None = None) -> dict[str, Tensor]:
    """Errors (D,) of stored features by name, see ``round_trip``."""
    return {name: round_trip(name, tensor, stored, standard) for name, tensor in arrays.items() if "/features/" in name}


def _view_order(view: str) -> tuple[int, int, str]:
    digits = "".join(c for c in view if c.isdigit())
    return (0 if view == "plain" else 1, int(digits) if digits else 0, view)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "source tree"
