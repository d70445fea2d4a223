"""``lt-bench extract`` and ``pretrain``: calls of the extraction and of stage 1 by the verbs' options."""

from __future__ import annotations

import hashlib
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lt_bench.backbones.encoders import PROMPT, Prompt
from lt_bench.bench.linear_head import fit_and_tell
from lt_bench.bench.options import ExtractOptions, PretrainOptions, WritingOptions, reading
from lt_bench.bench.requirements import NEEDS_IMAGES, augmented, brings_weights, default_backbone, require_images, stored_type
from lt_bench.bench.validation import of_classes
from lt_bench.core.commands import text
from lt_bench.core.devices import pick_device
from lt_bench.core.errors import UserError
from lt_bench.core.launchers import is_first_process
from lt_bench.data.images.image_list import FileData
from lt_bench.data.load import load_images
from lt_bench.data.readers.small_images import ImageData
from lt_bench.data.specs import dataset_spec
from lt_bench.features.extraction.extract import extract
from lt_bench.features.extraction.request import Request
from lt_bench.features.locate import home
from lt_bench.features.manifest import LISTED, MANIFEST_NAME, Manifest, read_manifest

if TYPE_CHECKING:
    from lt_bench.bench.pretrain import Pretrained


def extract_images(options: ExtractOptions) -> tuple[Path, Manifest]:
    """Extract the cache; returns its directory and manifest.

    Raises:
        UserError: an option is missing, or anything that ``features.extraction.extract.extract`` refuses.
    """
    if not options.dataset or options.data_dir is None:
        raise UserError(NEEDS_IMAGES)
    backbone = default_backbone(options.dataset, options.data_dir, options.backbone, options.weights)
    lacking = [] if backbone else ["--backbone NAME, the network"]
    lacking += [] if options.weights is not None or brings_weights(backbone) else ["--weights FILE, its stage-1 weights"]
    if lacking:
        raise UserError(f"extract needs {' and '.join(lacking)} (docs/backbones.md)")
    require_images(options.dataset, options.data_dir, backbone, options.weights)
    augment, views = augmented(options)
    data = load_images(options.dataset, options.data_dir, **reading(options) | {"val_per_class": options.val_per_class})
    name = options.name or _free_name(cache_name(replace(options, backbone=backbone)), data.split_hash)
    out = options.out or home() / "caches" / name
    request = Request(
        data=data, backbone=backbone, weights=options.weights, out=out, image_size=options.image_size, augment=augment, head=options.stage1_head, fit_head=fit_and_tell, prompt=_prompt(options, data.class_names),
        name=name, views=views, dtype=stored_type(options), standardise=options.standardise, device=pick_device(options.accelerator), stage1=options.stage1,
        batch_size=options.batch_size, workers=options.workers, skip_broken=options.skip_broken,
        val_seen_by_backbone=options.val_seen_by_backbone, devices=options.devices,
        command=_command(
            "extract", options, backbone=backbone, weights=options.weights and options.weights.name, stage1_head=options.stage1_head, prompt=None if options.prompt == PROMPT else options.prompt, standardise=options.standardise,
        ),
    )  # fmt: skip
    _say_extraction(request)
    return out, extract(request)


def pretrain_images(options: PretrainOptions) -> Pretrained:
    """Train stage 1 and extract the cache; returns the paths of their files.

    Raises:
        UserError: an option is missing, or anything that ``bench.pretrain.pretrain`` refuses.
    """
    from lt_bench.bench.pretrain import pretrain  # and with it Lightning, which extraction does without

    return pretrain(
        options,
        command=_command(
            "pretrain", options, backbone=options.backbone, weights=options.weights and options.weights.name, recipe=options.recipe, seed=options.seed, epochs=options.epochs,
            **{f"recipe.{name}": repr(value) for name, value in options.recipe_fields.items()},
            precision=options.precision, compiled=options.compiled, half_weights=options.half_weights,
        ),
    )  # fmt: skip


def _prompt(options: ExtractOptions, class_names: tuple[str, ...]) -> Prompt | None:
    """The prompts of a text tower; None where another stage-1 head is wanted."""
    return Prompt(class_names, options.prompt) if options.stage1_head in (None, "text") else None


def _say_extraction(request: Request) -> None:
    """Print what is extracted and where to, unless the cache exists already."""
    if is_first_process() and not (request.out / MANIFEST_NAME).is_file():
        size = "" if request.image_size is None else f" at {request.image_size} pixels"
        print(f"lt-bench: extracting the features of {request.backbone}{size} into {request.out}", file=sys.stderr)  # noqa: T201
        if request.data.val_hash:
            print(f"lt-bench: {_validation(request.data)}", file=sys.stderr)  # noqa: T201


def _validation(data: ImageData | FileData) -> str:
    """The validation images that ``--val-per-class`` chose, in words."""
    counts = np.bincount(data.splits["val"].labels, minlength=len(data.class_names)).tolist()
    without = [name for name, count in zip(data.class_names, counts, strict=True) if not count]
    return f"{sum(counts):,} validation images{of_classes(counts, without)}: {data.val_source}"


def _free_name(name: str, split_hash: str) -> str:
    """The name of a cache; with the hash of its images appended where a cache of other images has that name, as when a folder has changed."""
    directory = home() / "caches" / name
    if not (directory / MANIFEST_NAME).is_file():
        return name
    manifest = read_manifest(directory)
    same = split_hash in (manifest.dataset.split_hash, manifest.created_with.get(LISTED))
    return name if same else f"{name}-{split_hash[:6]}"


def cache_name(options: ExtractOptions) -> str:
    """``cifar100_lt-if100-resnet34``; a person's own images bring name and hash of their place: ``folder-birds-3f2a9c-resnet18``."""
    spec = dataset_spec(options.dataset)
    factor = options.imbalance_factor if options.imbalance_factor is not None else spec.imbalance_factor
    own = []
    if spec.num_classes is None and options.data_dir is not None:  # two folders of one name are two data sets
        whole = options.data_dir.resolve()
        own = [whole.stem, hashlib.sha256(str(whole).encode()).hexdigest()[:6]]
    subset = [] if factor is None else [f"if{text(factor)}"]
    subset += [value for value, usual in ((options.profile, "exponential"), (options.selection, "first")) if value not in (None, usual)]
    inputs = [
        *([f"{options.image_size}px"] if options.image_size else []),
        *([options.augment] if options.augment else []),
        *(["standardised"] if options.standardise else []),
        *([f"val{options.val_per_class}"] if options.val_per_class else []),
    ]
    return "-".join([spec.name, *own, *subset, options.backbone.replace("/", "_"), *inputs])


def _command(verb: str, options: WritingOptions, **more: object) -> str:
    """The command line that repeats the extraction or training, with DIR for the folder of the images."""
    inputs = {name: getattr(options, name) for name in ("image_size", "augment", "views", "dtype", "val_per_class")}
    given = {"dataset": options.dataset, **reading(options), **inputs, **more}
    usual = reading(WritingOptions())
    words = ["lt-bench", verb, "--data-dir", "DIR"]
    for name, value in given.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value is not None and value is not False and (name not in usual or value != usual[name]):
            words += [f"--{name.replace('_', '-')}", text(value)]
    return shlex.join(words)
