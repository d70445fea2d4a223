"""The end of an extraction: shards become a cache, without images that could not be decoded and with a list of those that could."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.data.images.image_list import FileData, ImageList, sample_name
from lt_bench.data.images.image_list import identity as listed_identity
from lt_bench.data.readers.small_images import ImageData
from lt_bench.data.repeated import Contents, Images, image_contents
from lt_bench.features.audit import summary
from lt_bench.features.cache import FeatureCache
from lt_bench.features.collapse import collapse_line, collapse_of
from lt_bench.features.extraction.joined_images import GROUP
from lt_bench.features.extraction.request import FitHead, Request
from lt_bench.features.manifest import IMAGES, Manifest, with_head
from lt_bench.features.resumable import Resumable
from lt_bench.features.write import Description

SKIPPED = "skipped"
VERB = "extract"  # the verb whose options the audit names, also when `run` or `pretrain` extracts


def publish(request: Request, store: Resumable, description: Description, head: tuple[Tensor, Tensor] | None, console: Console) -> Manifest:
    """Make the cache of the shards that ``store`` holds.

    Args:
        request: what was extracted.
        store: all its shards.
        description: for the manifest; it is changed where images were left out.
        head: the stage-1 classifier, weight (K, D) and bias (K,), where there is one.
        console: is told what was left out, and what the audit of the features says.

    Raises:
        UserError: a class has no training image left, or the stored type loses what the features say.
    """
    data = request.data
    if request.fit_head is not None:
        description, head = _fitted(request.fit_head, store, description, console)
    arrays = {f"head/{name}": t.detach().float().cpu().contiguous() for name, t in zip(("weight", "bias"), head or (), strict=False)}
    texts: dict[str, str] = {}
    readable: dict[str, ImageList] = {}
    if isinstance(data, FileData):
        broken = {split: store.broken(split) for split in data.splits}
        skipped = [f"{sample_name(data, split, i)}: {why}" for split, reasons in broken.items() for i, why in reasons.items()]
        readable = {
            split: images.take(np.setdiff1d(np.arange(len(images)), list(broken[split]))) if broken[split] else images
            for split, images in data.splits.items()
        }
        if skipped:
            description = _without(description, readable, skipped)
            for line in skipped:
                console.print(f"left out {line}", soft_wrap=True, markup=False, highlight=False)
    for line in data.remarks:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if data.no_images:
        description = replace(description, audit={**description.audit, "no_images": list(data.no_images)})
    own = data.spec.num_classes is None  # the files of a benchmark are too many to be read once more: their features are compared
    contents = image_contents(readable or data.splits) if own or isinstance(data, ImageData) else None
    if readable:
        texts[IMAGES] = _table(readable, data.class_names, contents)
    images = None if contents is None else Images(contents, lambda split, i: _short_name(data, readable, split, i))
    manifest = store.publish(description, arrays, texts, images, VERB)
    for line in summary(manifest.audit):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print(collapse_line(collapse_of(FeatureCache(request.out, manifest))), soft_wrap=True, markup=False, highlight=False)
    return manifest


def _short_name(data: ImageData | FileData, readable: Mapping[str, ImageList], split: str, i: int) -> str:
    """Name of the cache's sample i: as in ``images.csv``, or its number where images are in memory."""
    return readable[split].short_name(i) if readable else sample_name(data, split, i)


def _fitted(fit_head: FitHead, store: Resumable, description: Description, console: Console) -> tuple[Description, tuple[Tensor, Tensor]]:
    """The description and the head after one was fitted on the features that ``store`` holds."""
    began = time.perf_counter()
    val = store.plain("val") if "val" in store.splits and not description.dataset.val_seen_by_backbone else None
    head = fit_head(store.plain("train"), val, description.dataset.num_classes)
    console.print(
        f"fitted a stage-1 head in {time.perf_counter() - began:.0f} s: {head.words}", soft_wrap=True, markup=False, highlight=False
    )
    backbone = replace(description.backbone, stage1=with_head(description.backbone.stage1, head.words))
    return replace(description, backbone=backbone), (head.weight, head.bias)


def _without(description: Description, readable: dict, skipped: Sequence[str]) -> Description:
    """The description with the counts, split hash and origin of the images that are not broken."""
    dataset = description.dataset
    for split, images in readable.items():
        if not len(images):
            raise UserError(f"no image of {split} can be decoded; mend them: {'; '.join(skipped[:3])}")
    counts = tuple(np.bincount(readable["train"].labels, minlength=dataset.num_classes).tolist())
    if 0 in counts:
        raise UserError(
            f"class {dataset.class_names[counts.index(0)]!r} has no training image that can be decoded; mend them: {'; '.join(skipped[:3])}"
        )
    dataset = replace(dataset, train_counts=counts, split_hash=listed_identity(readable))
    origin = f"{description.origin}; {len(skipped)} images that cannot be decoded were left out"
    return replace(description, dataset=dataset, origin=origin, extra={**description.extra, SKIPPED: "; ".join(skipped)})


def _table(splits: Mapping[str, ImageList], names: Sequence[str], contents: Contents | None) -> str:
    """Table of the image behind each row of the cache, in a form that `--dataset table` reads, with the contents by which a later extraction knows them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    grouped = all(images.groups is not None for images in splits.values())
    writer.writerow(["split", "row", "path", "label", *(["content"] if contents else []), *([GROUP] if grouped else [])])
    for split, images in splits.items():
        columns = [images.rows, images.paths, (names[label] for label in images.labels)]
        columns += ([contents[split]] if contents else []) + ([images.groups] if grouped else [])
        writer.writerows([split, *cells] for cells in zip(*columns, strict=True))
    return text.getvalue()
