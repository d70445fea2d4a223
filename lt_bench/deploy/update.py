"""``lt-bench update``: a classifier fitted anew where images were added, and compared with the earlier one on the same test images."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lt_bench.backbones.encoders import PROMPT, Prompt
from lt_bench.bench.execute import execute
from lt_bench.bench.linear_head import fit_and_tell
from lt_bench.bench.options import ExportOptions, ExtractOptions, UpdateOptions, reading
from lt_bench.bench.options.recorded import options_in
from lt_bench.bench.requirements import augmented
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.core.devices import pick_device
from lt_bench.core.errors import UserError
from lt_bench.core.names import counted
from lt_bench.data.images.image_list import FileData
from lt_bench.data.load import load_images
from lt_bench.data.membership import contents
from lt_bench.deploy.export import export
from lt_bench.deploy.files import ONNX, faults_of, read_description
from lt_bench.deploy.old_and_new import Comparison, compared, recommendation
from lt_bench.deploy.update_inputs import Say, cache_of, planned_on, readable, require_places, require_strategy
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import FeatureCache, open_cache
from lt_bench.features.extraction.earlier import Earlier
from lt_bench.features.extraction.extract import extract
from lt_bench.features.extraction.joined_images import CachedImages, Changes
from lt_bench.features.extraction.request import FITTED, HEAD, Request
from lt_bench.features.locate import home
from lt_bench.features.manifest import MANIFEST_NAME, parted
from lt_bench.leaderboard.objective.objective import objective_of
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store


@dataclass(frozen=True)
class Updated:
    """A classifier that was fitted anew.

    Attributes:
        directory: of the new export.
        record: the JSON file of its record.
        cache: directory of its features.
        changes: of the images.
        objective: what the classifiers are compared by.
        comparisons: of the earlier and the new classifier, on the earlier test images and on all.
        recommendation: in one line.
    """

    directory: Path
    record: Path
    cache: Path
    changes: Changes
    objective: str
    comparisons: tuple[Comparison, ...]
    recommendation: str

    def document(self) -> dict[str, Any]:
        """The comparison as the dictionary that ``--json`` prints."""
        return dataclasses.asdict(self)


def update(options: UpdateOptions, say: Say) -> Updated:
    """Fit an exported classifier anew, by the same strategy and hyper-parameters, where images were added, removed or given another class.

    Images that the export's cache has stay in their split, and their features are taken from there. The new cache, record and export stand beside the earlier ones, which stay
    as they are. Broken off, the same call does what is missing.

    Args:
        options: what ``lt-bench update`` takes.
        say: is told what has changed, before anything is extracted.

    Raises:
        UserError: no such export, cache, images or weights; nothing has changed; a class has no training image left; or what extraction, fit and export refuse.
    """
    if options.export is None or options.data_dir is None:
        raise UserError("update needs an export and the images, earlier and new ones: lt-bench update EXPORT --data-dir DIR")
    description = read_description(options.export)
    cache = cache_of(description, options)
    require_strategy(description, cache, say)
    require_places(cache, options)
    recorded = options_in(cache.manifest.command, ExtractOptions)
    recorded = replace(recorded, data_dir=options.data_dir, image_root=options.image_root or recorded.image_root)
    images = CachedImages.of(cache)
    data = load_images(cache.manifest.dataset.name, options.data_dir, **{**reading(recorded), "settled": images.settled})
    assert isinstance(data, FileData)
    data, earlier, changes = readable(*images.joined(data), options, say)
    if changes.none:
        raise UserError(
            f"{options.data_dir}: every image is in cache {cache.manifest.name} already and none is gone, so there is nothing to update"
        )
    for line in _lines_of(changes):
        say(line)
    objective_of(options.objective, data.class_names, np.array(data.train_counts))  # refused now, not when all is done
    new = _extracted(options, data, earlier, cache, recorded)
    record = _fitted(description, new, options)
    directory = options.out or options.export.absolute().parent / f"{record.strategy.name}-{record.dataset.name}-{record.id}"
    path = Store(options.results).path(record)
    _export(description, record, ExportOptions(path, options.weights, directory, str(new.path)))
    objective, comparisons = compared(options.export, directory, new, images, options.objective, options.trust_program)
    return Updated(directory, path, new.path, changes, objective.text, comparisons, recommendation(comparisons, objective))


def _lines_of(changes: Changes) -> list[str]:
    """The changes, one fact a line."""
    joined, removed = (", ".join(f"{n:,} in {split}" for split, n in of.items() if n) or "none" for of in (changes.joined, changes.removed))
    lines = [f"new images: {joined}; images that are gone: {removed}"]
    for names, what in (
        (changes.new_classes, "new"),
        (changes.lost_classes, "without an image now, left out"),
    ):
        if names:
            lines.append(f"{counted(len(names), 'class', 'classes')} {what}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}")
    if changes.relabelled:
        lines.append(f"images that have another class now, which is taken: {changes.relabelled:,}")
    if changes.stayed:
        lines.append(f"images that lie in another split now, and stay in the one that they were in: {changes.stayed:,}")
    return lines


def _extracted(options: UpdateOptions, data: FileData, earlier: Earlier, cache: FeatureCache, recorded: Any) -> FeatureCache:
    """The cache of all images, extracted as the earlier one was."""
    manifest, stage1 = cache.manifest, cache.manifest.backbone.stage1
    augment, _ = augmented(recorded, "crop" if manifest.command.startswith("lt-bench pretrain") else "none")
    name = f"{re.sub('-u[0-9a-f]{6}$', '', manifest.name)}-u{_digest(data)}"
    prompt = None if recorded.stage1_head not in (None, "text") else Prompt(data.class_names, recorded.prompt or PROMPT)
    request = Request(
        data=data, backbone=manifest.backbone.name, weights=options.weights, out=home() / "caches" / name, name=name, device=pick_device(options.accelerator),
        views=len(manifest.views["train"]) - 1, dtype=manifest.dtype, standardise=cache.standardisation() is not None, workers=options.workers,
        image_size=recorded.image_size, augment=augment, head=recorded.stage1_head, fit_head=fit_and_tell, prompt=prompt, earlier=earlier,
        skip_broken=options.skip_broken, val_seen_by_backbone=manifest.dataset.val_seen_by_backbone, stage1=parted(stage1)[0] if manifest.created_with.get(HEAD) == FITTED else stage1,
        command=f"{manifest.command} && {shlex.join(['lt-bench', 'update', str(options.export), '--data-dir', 'DIR'])}",
    )  # fmt: skip
    if not (request.out / MANIFEST_NAME).is_file():
        request.out.parent.mkdir(parents=True, exist_ok=True)
    extract(request)
    return open_cache(request.out)


def _digest(data: FileData) -> str:
    """Six hex digits of the images' contents, classes and splits."""
    lines = [
        f"{split} {data.class_names[label]} {content}"
        for split, images in data.splits.items()
        for label, content in zip(images.labels, contents(images), strict=True)
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:6]


def _fitted(description: Mapping[str, Any], cache: FeatureCache, options: UpdateOptions) -> RunRecord:
    """The record of the export's strategy on the new cache; one that is there is not fitted again."""
    store, records, planned = Store(options.results), [], planned_on(description, cache)
    if failures := execute(CacheSource(cache, Hardware(options.accelerator, 1)), planned, store, records.append):
        raise UserError("; ".join(failures))
    return records[0]


def _export(description: Mapping[str, Any], record: RunRecord, wanted: ExportOptions) -> None:
    """Write the new export with the files that the earlier one has, unless it is there already."""
    assert wanted.out is not None
    if wanted.out.is_dir() and not faults_of(wanted.out) and read_description(wanted.out)["provenance"]["record"] == record.id:
        return
    export(replace(wanted, head_only=description["input"] == "features", onnx=ONNX in description["files"]))
