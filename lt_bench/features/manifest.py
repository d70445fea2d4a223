"""The manifest of a feature cache: its content, its origin, and its key. Free of torch."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lt_bench.core.commands import word
from lt_bench.core.documents import parse_json
from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.seals import check_seal, sealed

FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"
IMAGES = "images.csv"  # beside it: the images of a cache of image files, with their groups where it was split by groups
LISTED = "listed split"  # in ``created_with``: identity of the images that were listed, before broken ones were left out


@dataclass(frozen=True)
class DatasetInfo:
    """The data set of the features.

    Attributes:
        name: data set name as on the command line, e.g. ``cifar100_lt``.
        class_names: K names in label order.
        train_counts: K training images per class.
        split_hash: identity of the rows of all splits (``data.splits.split_hash``).
        imbalance_factor: n_max / n_min by which a long-tailed subset was drawn; None for data used as they are.
        selection: how the subset was drawn, e.g. ``first`` or ``seed0``; ``given`` if none was drawn.
        val_seen_by_backbone: whether stage 1 was trained on the validation rows; True makes tuning refuse them.
    """

    name: str
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    split_hash: str
    imbalance_factor: float | None = None
    selection: str = "given"
    val_seen_by_backbone: bool = False

    @property
    def subset(self) -> tuple[str, str]:
        """Selection and profile; both are ``given`` if the subset was not drawn here."""
        selection, _, profile = self.selection.partition(" (")
        return selection, selection if selection == "given" else profile.removesuffix(" profile)") or "exponential"

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.train_counts)


@dataclass(frozen=True)
class BackboneInfo:
    """The network behind the features: its name, hash of its weights, feature dimension D, and description of its stage 1."""

    name: str
    weights_hash: str
    dim: int
    stage1: str = ""


_OF_HEAD = "; head: "


def with_head(stage1: str, words: str) -> str:
    """Description of stage 1, and of a head that was fitted on its features."""
    return f"{stage1}{_OF_HEAD}{words}".removeprefix("; ")


def parted(stage1: str) -> tuple[str, str]:
    """Description of stage 1 alone, and of the head that ``with_head`` put beside it, empty where there is none."""
    parts = f"; {stage1}".rsplit(_OF_HEAD, 1)
    return parts[0].removeprefix("; "), "".join(parts[1:])


@dataclass(frozen=True)
class Part:
    """A run of rows of an array: ``rows`` rows under ``key`` of the safetensors file ``file`` (compressed where its name ends in ``.gz``), with the SHA-256 of their bytes."""

    file: str
    key: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class ArrayInfo:
    """One stored array: its shape, its stored dtype, and its parts in row order.

    ``affine8`` arrays are uint8 codes c of values offset + scale * c, per column; the two float32 vectors stand under ``<name>.scale`` and ``<name>.offset``.
    """

    shape: tuple[int, ...]
    dtype: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Manifest:
    """Description of a cache, without its arrays.

    ``views`` maps a split to its view names: ``plain`` first, then ``aug1``... (train) or ``flip`` (test). ``transform`` names how images became
    inputs (``evaluation`` and ``augmentation``). ``origin`` describes the source of the features, ``command`` makes the cache again.
    ``audit`` is what was noticed in the features, ``independence`` what is known of images that several splits, or the backbone's training, share.
    """

    name: str
    dataset: DatasetInfo
    backbone: BackboneInfo
    transform: dict[str, str]
    dtype: str
    views: dict[str, tuple[str, ...]]
    arrays: dict[str, ArrayInfo]
    origin: str = ""
    command: str = ""
    created_with: dict[str, str] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)
    independence: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT_VERSION

    @functools.cached_property
    def key(self) -> str:
        """The cache's identity, 16 hex digits: the hash of ``key_fields``."""
        return cache_key(key_fields(self))

    def to_json(self) -> str:
        """The manifest as text with its key and seal, keys sorted, so that the same cache gives the same file."""
        document = sealed({**dataclasses.asdict(self), "key": self.key})
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def described_fields(
    dataset: DatasetInfo, backbone: BackboneInfo, transform: Mapping[str, str], dtype: str, views: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The fields of the key that are known before there are features: data, names, backbone, transform, precision, views, format."""
    return {
        "dataset": dataset.name,
        "imbalance_factor": dataset.imbalance_factor,
        "split_hash": dataset.split_hash,
        "class_names": list(dataset.class_names),
        "train_counts": list(dataset.train_counts),
        "val_seen_by_backbone": dataset.val_seen_by_backbone,
        "backbone": backbone.name,
        "weights_hash": backbone.weights_hash,
        "transform": dict(transform),
        "dtype": dtype,
        "views": {split: list(names) for split, names in views.items()},
        "format": FORMAT_VERSION,
    }


def key_fields(manifest: Manifest) -> dict[str, Any]:
    """The fields that determine the key; caches that differ in one of them are different.

    They are all that changes a number or a refusal: what describes the features, and the features, labels, rows and head themselves (type, shape and digests of
    every array). Names of the cache and its files, its origin, and the versions it was made with are none of them.
    """
    arrays = {name: [info.dtype, list(info.shape), [part.sha256 for part in info.parts]] for name, info in manifest.arrays.items()}
    described = described_fields(manifest.dataset, manifest.backbone, manifest.transform, manifest.dtype, manifest.views)
    return {**described, "format": manifest.format, "arrays": arrays}


def cache_key(fields: Mapping[str, Any]) -> str:
    """Hash of ``key_fields``, 16 hex digits."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def read_manifest(directory: Path) -> Manifest:
    """Read and check the manifest of the cache in ``directory``.

    Raises:
        UserError: no manifest there, not JSON, a field missing, of another format version, or its fields contradict each other, its key or its seal.
    """
    path = directory / MANIFEST_NAME
    if not path.is_file():
        raise UserError(
            f"{directory}: not a feature cache (no {MANIFEST_NAME}); make one with `lt-bench extract` or `lt-bench import-features`"
        )
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise unreadable(path, error) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged manifest ({error}); make the cache again") from None
    version = document.get("format") if isinstance(document, dict) else None
    if version == 1:
        raise UserError(
            f"{path}: cache format 1, this version reads {FORMAT_VERSION}; `lt-bench migrate {word(directory)}` brings it up to date"
        )
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: cache format {version!r}, this version reads {FORMAT_VERSION}; make the cache again")
    manifest = manifest_of(document, path)
    if document.get("key") != manifest.key:
        raise UserError(
            f"{path}: key {document.get('key')} does not fit the manifest's own fields ({manifest.key}); the file was altered, "
            "restore it from a copy or make the cache again"
        )
    check_seal(document, path, "make the cache again")
    return manifest


def manifest_of(document: Mapping[str, Any], path: Path) -> Manifest:
    """The manifest of a parsed file, of whatever format; neither key nor seal is checked.

    Raises:
        UserError: a field is missing or of another type, or fields contradict each other.
    """
    try:
        manifest = _from_document(document)
        contradiction = _contradiction(manifest)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: manifest lacks or garbles {error}; make the cache again") from None
    if contradiction:
        raise UserError(f"{path}: {contradiction}; the file was altered, make the cache again")
    return manifest


def _contradiction(manifest: Manifest) -> str | None:
    """A contradiction between fields of a manifest, or None."""
    dataset, arrays = manifest.dataset, manifest.arrays
    if len(dataset.class_names) != dataset.num_classes:
        return f"{len(dataset.class_names)} class names for {dataset.num_classes} train counts"
    for name, info in arrays.items():
        if sum(part.rows for part in info.parts) != info.shape[0]:
            return f"the parts of {name} do not add up to its {info.shape[0]} rows"
        if any("/" in part.file or part.file.startswith(".") for part in info.parts):
            return f"a part of {name} lies outside the cache"
    for split, views in manifest.views.items():
        wanted = {f"{split}/labels", f"{split}/rows", *(f"{split}/features/{view}" for view in views)}
        if not wanted <= arrays.keys() or "plain" not in views:
            return f"the {split} split lacks {', '.join(sorted(wanted - arrays.keys())) or 'the plain view'}"
        rows = {arrays[name].shape[0] for name in wanted}
        if len(rows) != 1 or any(arrays[f"{split}/features/{view}"].shape[1:] != (manifest.backbone.dim,) for view in views):
            return f"the arrays of the {split} split do not fit each other or the feature dimension {manifest.backbone.dim}"
    if not {"train", "test"} <= manifest.views.keys():
        return "there is no train or no test split"
    if arrays["train/labels"].shape[0] != sum(dataset.train_counts):
        return f"train counts of {sum(dataset.train_counts)} images for {arrays['train/labels'].shape[0]} labels"
    return None


def _from_document(document: Mapping[str, Any]) -> Manifest:
    dataset, backbone = dict(document["dataset"]), dict(document["backbone"])
    dataset["class_names"] = tuple(dataset["class_names"])
    dataset["train_counts"] = tuple(int(n) for n in dataset["train_counts"])
    arrays = {
        name: ArrayInfo(tuple(info["shape"]), info["dtype"], tuple(Part(**part) for part in info["parts"]))
        for name, info in document["arrays"].items()
    }
    return Manifest(
        name=document["name"],
        dataset=DatasetInfo(**dataset),
        backbone=BackboneInfo(**backbone),
        transform=dict(document["transform"]),
        dtype=document["dtype"],
        views={split: tuple(names) for split, names in document["views"].items()},
        arrays=arrays,
        origin=document["origin"],
        command=document["command"],
        created_with=dict(document["created_with"]),
        audit=dict(document.get("audit", {})),
        independence=dict(document.get("independence", {})),
        format=document["format"],
    )
