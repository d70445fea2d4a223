"""Small pictures of test images that a record's head took for another class, where the images are at hand."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from lt_bench.bench.options import ImageOptions, reading
from lt_bench.bench.options.recorded import options_in
from lt_bench.core.errors import UserError
from lt_bench.core.names import word_after
from lt_bench.data.images.image_list import ImageList
from lt_bench.data.load import load_images
from lt_bench.data.readers.small_images import ImageSplit
from lt_bench.features.locate import caches_of
from lt_bench.features.manifest import LISTED, Manifest
from lt_bench.leaderboard.report.classes import ClassReport

WORST, EACH, SIDE = 12, 8, 112
"""Classes that are shown, images of each, longest side in pixels."""
Thumbnails = dict[int, list[tuple[bytes, str]]]


def worst_thumbnails(report: ClassReport, data_dir: Path | None) -> tuple[Thumbnails, str]:
    """JPEGs of misclassified images of the worst classes by class, each with the class that the first seed took it for; or none, and why.

    Args:
        report: of a row.
        data_dir: where the images are; else what the record's command names, if it is there.

    Raises:
        UserError: the images in ``data_dir`` are not those of the record, or cannot be read.
    """
    row, name = report.row, report.row.board.dataset
    if name == "embeddings":
        return {}, "The record is of imported features: there are no images to show."
    path, manifest = next(iter(caches_of(row.board.cache_key, str(row.text("command")))), (None, None))
    command = " ".join([str(row.text("command")), *([] if manifest is None else [manifest.command])])
    named = word_after(shlex.split(command), "--data-dir")
    place = data_dir or (Path(named) if named and Path(named).exists() else None)
    if place is None:
        return {}, "No images: name where they are with --data-dir."
    data = load_images(name, place, **reading(options_in(command, ImageOptions)))
    hashes = {row.board.split_hash, None if manifest is None else manifest.created_with.get(LISTED)}
    images = data.splits["test"]
    if path is not None and manifest is not None and isinstance(images, ImageList) and manifest.dataset.split_hash != data.split_hash:
        images = _extracted(images, path, manifest)
    if data.split_hash not in hashes or not np.array_equal(images.labels, report.labels):
        if data_dir is not None:
            raise UserError(f"{place}: its test images are not those of the record; name the folder that the features were extracted from")
        return {}, f"No images: those in {place} are not those of the record; name the right ones with --data-dir."
    names, predicted = row.split.class_names, report.predictions[0]
    return {
        one.number: [(_jpeg(_image(images, int(i))), names[predicted[i]]) for i in _wrong(report, one.number)]
        for one in report.worst_first[:WORST]
        if one.recall < 1
    }, ""


def _extracted(images: ImageList, cache: Path, manifest: Manifest) -> ImageList:
    """The images that a cache has features of, in its order, without the broken images that extraction left out."""
    from lt_bench.features.cache import FeatureCache  # and with it torch
    from lt_bench.features.extraction.joined_images import listed_paths

    place = {name: i for i, name in enumerate(images.paths)}
    return images.take(np.array([place[name] for name in listed_paths(FeatureCache(cache, manifest), "test") if name in place], np.int64))


def _wrong(report: ClassReport, number: int) -> Iterable[int]:
    """Misclassified images of a class, at most `EACH`, in turns over the predicted classes: one of each before a second of any."""
    wrong = np.flatnonzero((report.labels == number) & (report.predictions[0] != number))
    seen: dict[int, int] = {}
    turn = [seen.__setitem__(p, seen.get(p, -1) + 1) or seen[p] for p in report.predictions[0][wrong].tolist()]
    return wrong[np.argsort(turn, kind="stable")][:EACH].tolist()


def _image(images: ImageList | ImageSplit, i: int) -> Image.Image:
    return images.image(i) if isinstance(images, ImageList) else Image.fromarray(images.images[i].transpose(1, 2, 0))


def _jpeg(image: Image.Image) -> bytes:
    scale = SIDE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    out = io.BytesIO()
    image.resize((width, height), Image.Resampling.NEAREST if scale > 1.5 else Image.Resampling.LANCZOS).convert("RGB").save(
        out, "JPEG", quality=80
    )
    return out.getvalue()
