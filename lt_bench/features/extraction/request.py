"""Request of an extraction: the data set, the backbone and the cache that is to hold its features, with the identity of that cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lt_bench.backbones.encoders import Prompt
from lt_bench.backbones.loading import Loaded
from lt_bench.core.devices import device_name
from lt_bench.core.errors import UserError
from lt_bench.data.images.image_list import FileData
from lt_bench.data.readers.small_images import ImageData
from lt_bench.features.cache import FitHead, open_cache, require
from lt_bench.features.extraction.earlier import Earlier
from lt_bench.features.extraction.inputs import Inputs
from lt_bench.features.manifest import LISTED, MANIFEST_NAME, BackboneInfo, DatasetInfo, Manifest, described_fields, key_fields
from lt_bench.features.resumable import SplitPlan, remove_unfinished
from lt_bench.features.write import STANDARDISED, Description

HEAD, FITTED, VALIDATION = "head", "fitted", "validation"  # in ``created_with``
DTYPES = ("float16", "float32", "affine8")


@dataclass(frozen=True)
class Request:
    """An extraction.

    Attributes:
        data: the images.
        backbone: name of the network.
        weights: its weights; None: those that a package brings.
        out: directory of the cache.
        device: on which the backbone runs.
        name: of the cache.
        devices: processes on this node, one device each; under torchrun its number counts.
        views: augmented views of each training image.
        dtype: float16, float32 or affine8.
        standardise: store features with mean 0 and spread 1 over the plain training images in each dimension; a stage-1 head is brought over.
        batch_size: views a forward; by default 250, and 125 from 64 pixels on.
        workers: decoding processes; 0 decodes in this one.
        image_size: height and width of the inputs, pixels; None: as the transform of the backbone or the data set says.
        augment: steps of the augmentation, see ``data.images.transforms.augmentation``; None: the data set's.
        head: origin of the stage-1 head: ``weights``, ``text`` or ``fit``; None: the weights where they have one, else fitted for a person's own images.
        fit_head: fits a head on the plain training features (and on validation, where the backbone has not seen it) for K classes; None: none is fitted.
        prompt: sentences about the classes for a text tower; None: none is asked.
        earlier: features of images that an earlier cache has, which are taken from there.
        skip_broken: leave images out that cannot be decoded, and name them, instead of stopping.
        val_seen_by_backbone: whether stage 1 was trained on the validation images.
        stage1: how the backbone was trained, in words.
        command: how to make the cache again.
        progress: whether to say how far it is.

    Raises:
        UserError: no such number of views, or type.
    """

    data: ImageData | FileData
    backbone: str
    weights: Path | str | None
    out: Path
    device: torch.device
    name: str
    devices: int = 1
    views: int = 8
    dtype: str = "float16"
    standardise: bool = False
    batch_size: int | None = None
    workers: int | None = None
    image_size: int | None = None
    augment: str | None = None
    head: str | None = None
    fit_head: FitHead | None = None
    prompt: Prompt | None = None
    earlier: Earlier | None = None
    skip_broken: bool = False
    val_seen_by_backbone: bool = False
    stage1: str = ""
    command: str = ""
    progress: bool = True

    def __post_init__(self) -> None:
        if self.views < 0:
            raise UserError(f"views is {self.views}, expected 0 or more")
        if self.dtype not in DTYPES:
            raise UserError(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")

    def with_origin_of_head(self, loaded: Loaded) -> Request:
        """The request, with ``fit_head`` only where a head is to be fitted beside these weights.

        Raises:
            UserError: the head of the weights is asked for, and they have none.
        """
        if self.head in ("weights", "text") and (loaded.head is None or (self.head == "text") != bool(loaded.transform)):
            lacking = "no text tower" if self.head == "text" else f"no classifier of these {len(self.data.train_counts)} classes"
            raise UserError(f"--stage1-head {self.head}: the weights of {self.backbone} have {lacking}; --stage1-head fit fits a head")
        fits = self.head == "fit" or (self.head is None and loaded.head is None and self.data.spec.num_classes is None)
        return replace(self, fit_head=self.fit_head if fits else None, prompt=self.prompt if loaded.transform and loaded.head else None)

    @property
    def origin_of_head(self) -> str:
        """For ``created_with``: what made the head, where it is not the classifier of the weights."""
        return FITTED if self.fit_head is not None else "" if self.prompt is None else f"text: {self.prompt.template}"

    def plans(self) -> dict[str, SplitPlan]:
        """Views and rows to extract, by split."""
        mirrored = ("flip",) if self.augment is None or "flip" in self.augment else ()
        views = {"train": ("plain", *(f"aug{v}" for v in range(1, self.views + 1))), "val": ("plain",), "test": ("plain", *mirrored)}
        splits = self.data.splits
        return {
            split: SplitPlan(views[split], torch.from_numpy(splits[split].labels), torch.from_numpy(splits[split].rows))
            for split in views
            if split in splits
        }

    def description(self, loaded: Loaded, inputs: Inputs) -> Description:
        """Description of the loaded backbone's features, for the manifest."""
        data = self.data
        profile = "" if data.profile == "exponential" else f" ({data.profile} profile)"
        listed = {LISTED: data.split_hash} if isinstance(data, FileData) else {}
        seen = "seen" if self.val_seen_by_backbone else "unseen"
        return Description(
            name=self.name,
            dataset=DatasetInfo(
                data.spec.name, data.class_names, data.train_counts, data.split_hash, data.imbalance_factor and float(data.imbalance_factor),
                (data.selection or "given") + profile, val_seen_by_backbone=self.val_seen_by_backbone,
            ),
            backbone=BackboneInfo(self.backbone, loaded.weights_hash, loaded.network.dim, self.stage1 or loaded.stage1),
            transform=inputs.words | ({"standardised": STANDARDISED} if self.standardise else {}),
            dtype=self.dtype,
            origin=f"extracted by lt-bench in float32, backbone in eval mode; validation: {data.val_source}, {seen} by the backbone",
            command=self.command,
            extra={
                "device": device_name(self.device), **listed, **({HEAD: self.origin_of_head} if self.origin_of_head else {}), **({VALIDATION: data.val_hash} if data.val_hash else {}),
            },
        )  # fmt: skip

    def described_fields(self, description: Description) -> dict[str, Any]:
        """The fields of the cache's key that are known before the extraction."""
        views = {split: plan.views for split, plan in self.plans().items()}
        return described_fields(description.dataset, description.backbone, description.transform, description.dtype, views)

    def existing(self, description: Description) -> Manifest | None:
        """The manifest of the cache at ``out``, None where there is none; unfinished files that a killed extraction left beside the cache are removed.

        Where broken images were left out, the cache is compared by the images that were listed. Validation images count as seen by the backbone where the request or the cache
        says so: the comparison with the images of the weights comes after this.

        Raises:
            UserError: ``out`` holds another cache.
        """
        if not (self.out / MANIFEST_NAME).is_file():
            return None
        cache, wanted = open_cache(self.out), self.described_fields(description)
        if self.skip_broken and cache.manifest.created_with.get(LISTED) == wanted["split_hash"]:
            left = key_fields(cache.manifest)
            wanted |= {name: left[name] for name in ("split_hash", "train_counts")}
        wanted["val_seen_by_backbone"] |= cache.manifest.dataset.val_seen_by_backbone
        require(cache, **wanted)
        if cache.manifest.created_with.get(HEAD, "") != self.origin_of_head:
            raise UserError(
                f"{self.out}: its stage-1 head has another origin than asked for (--stage1-head, --prompt); name another place with --out"
            )
        if cache.manifest.created_with.get(VALIDATION, "") != self.data.val_hash:
            raise UserError(f"{self.out}: it holds other validation images than asked for (--val-per-class); name another place with --out")
        remove_unfinished(self.out)
        return cache.manifest
