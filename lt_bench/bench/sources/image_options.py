"""Image sources from the options of ``lt-bench run``: backbone, protocol, schedule."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lt_bench.backbones.loading import load_backbone
from lt_bench.backbones.registry import backbone_spec, build_backbone
from lt_bench.bench.options import RunOptions, reading
from lt_bench.bench.planning import Setting
from lt_bench.bench.sources.end_to_end import EndToEndSource, check_end_to_end, check_trains_head, read_phase1
from lt_bench.bench.sources.images import PixelSource
from lt_bench.core.commands import text
from lt_bench.core.errors import UserError
from lt_bench.data.hashes import pixel_hashes
from lt_bench.data.load import load_images
from lt_bench.data.readers.small_images import ImageData
from lt_bench.data.repeated import repeated
from lt_bench.engine.heads.fit import Hardware
from lt_bench.engine.heads.whole_network import draws_its_head
from lt_bench.engine.pretrain.recipes import Stage1Recipe, stage1_recipe
from lt_bench.engine.pretrain.stage1 import Precision
from lt_bench.features.cache import open_cache, require
from lt_bench.features.extraction.inputs import inputs_of
from lt_bench.features.independence import Seen, seen_images
from lt_bench.features.locate import find_cache
from lt_bench.features.manifest import ArrayInfo, BackboneInfo, DatasetInfo, Manifest
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.recipe import recipe_of

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


OnImages = tuple[PixelSource, Setting, Manifest | None]


def image_bench(entry: Entry, options: RunOptions) -> OnImages:
    """The source of the options, the setting of its runs, and the manifest of the named cache (None without one).

    Raises:
        UserError: an option is missing, makes no sense in this mode, or does not fit the images.
    """
    hardware = Hardware(options.accelerator, options.devices)
    data = _images(options)
    precision: Precision = options.precision or ("bf16" if hardware.on_gpu else "fp32")
    of_mode = _end_to_end if options.mode == "end-to-end" else _stage2
    return of_mode(entry, options, data, hardware, precision)


def _images(options: RunOptions) -> ImageData:
    missing = [name for name in ("dataset", "data_dir", "backbone") if not getattr(options, name)]
    if missing:
        raise UserError(f"fitting on images needs {', '.join('--' + name.replace('_', '-') for name in missing)} too")
    assert options.data_dir is not None
    assert options.backbone is not None
    if options.stage1_head is not None:
        raise UserError("--stage1-head is for cached features; fitting on images starts from the classifier of the weights, leave it out")
    data = load_images(options.dataset, options.data_dir, **reading(options))
    if not isinstance(data, ImageData):
        raise UserError(f"{data.spec.name} is a set of image files; fitting on images is for small images that lie in memory (CIFAR)")
    wanted, height = backbone_spec(options.backbone).input_size, data.splits["train"].images.shape[2]
    if wanted not in (0, height):
        raise UserError(f"{options.backbone} is for images of {wanted} pixels, {data.spec.name} has {height}")
    return data


def _stage2(entry: Entry, options: RunOptions, data: ImageData, hardware: Hardware, precision: Precision) -> OnImages:
    """A head on freshly augmented images through a backbone of stage 1."""
    drifting = options.protocol == "images-train"
    if options.weights is None:
        raise UserError(f"--protocol {options.protocol} needs --weights FILE, the stage-1 weights of the backbone")
    if drifting and entry.fitting != "sgd":
        raise UserError(
            f"{entry.name} fits nothing by batches, so BatchNorm would not move: under images-train it is the same as under images-eval"
        )
    if drifting and hardware.layout.world > 1:
        raise UserError("images-train normalises by the statistics of a whole batch, which one process sees; use --devices 1")
    name = str(options.backbone)
    loaded = load_backbone(name, options.weights, len(data.train_counts), data.spec.name, data.train_counts)
    cache = None if options.cache is None else open_cache(find_cache(options.cache))
    if cache is not None:
        require(cache, split_hash=data.split_hash, weights_hash=loaded.weights_hash)
    stage1 = "" if cache is None else cache.manifest.backbone.stage1
    seen = seen_images(data, loaded.rows, options.weights)
    transform = inputs_of(data, name, loaded.recipe.encoder, options.image_size, options.augment).words
    manifest = _manifest(options, data, BackboneInfo(name, loaded.weights_hash, loaded.network.dim, stage1), transform, precision, seen)
    words = (*_data_words(options), "--protocol", options.protocol, "--weights", options.weights.name, *_how(options, precision))
    words += () if options.cache is None else ("--cache", options.cache)
    bench = PixelSource(
        data, loaded.network, manifest, hardware, drifting, loaded.head is not None, precision, options.compiled, options.best_test_epoch
    )
    return bench, Setting(options.protocol, words=words), None if cache is None else cache.manifest


def _end_to_end(entry: Entry, options: RunOptions, data: ImageData, hardware: Hardware, precision: Precision) -> OnImages:
    """Source and setting of a fit of head and backbone together."""
    check_end_to_end(entry)
    if options.protocol not in ("clean", "images-train"):
        raise UserError(
            f"--protocol {options.protocol} re-trains a head; end-to-end training has the backbone in training mode: leave it out"
        )
    if options.weights is not None or options.cache is not None:
        raise UserError("end-to-end training starts from fresh weights, or from --phase1 FILE; leave --weights and --cache out")
    if options.recipe is None and options.phase1 is None:
        raise UserError("--mode end-to-end needs --recipe NAME, a stage-1 recipe; or --phase1 FILE, to go on by the strategy's own recipe")
    if options.recipe is None and options.epochs is not None:
        raise UserError("--epochs shortens a stage-1 recipe; without --recipe it is --strategy.epochs")
    if hardware.layout.world > 1:
        raise UserError("end-to-end training normalises by the statistics of a whole batch, which one process sees; use --devices 1")
    backbone, K = str(options.backbone), len(data.train_counts)
    plan = None if options.recipe is None else stage1_recipe(options.recipe).with_epochs(options.epochs)
    if plan is not None and plan.mixup:
        raise UserError(f"recipe {plan.name} mixes labels, which the strategies' losses do not know; choose another recipe")
    recipe: dict[str, Any] = {} if plan is None else dataclasses.asdict(plan.optimisation)
    phase1 = None if options.phase1 is None else read_phase1(options.phase1, backbone, K)
    seen = Seen() if phase1 is None else seen_images(data, phase1.rows, options.phase1)
    network = build_backbone(backbone, K) if phase1 is None else phase1.network
    start = 0 if phase1 is None or plan is None else phase1.epochs
    _check_phase1(plan, options.phase1, start)
    resolved = entry.resolve(data.spec.name, data.imbalance_factor, {**recipe, **options.strategy.hyperparameters})
    epochs = recipe_of(resolved, sum(data.train_counts)).epochs
    if start >= epochs:
        raise UserError(f"{options.phase1}: {start} epochs are done and the schedule has {epochs}; nothing is left to train")
    check_trains_head(entry, network, data.train_counts, resolved)
    begun = "fresh weights" if phase1 is None else f"phase 1 of {phase1.epochs or 'unknown'} epochs (weights {phase1.hash})"
    stage1 = (
        f"trained end to end with the head from {begun}, "
        + ("the strategy's recipe" if plan is None else plan.describe())
        + f", {precision}"
    )
    transform = inputs_of(data, backbone, backbone, options.image_size, options.augment).words
    manifest = _manifest(options, data, BackboneInfo(backbone, f"fresh {backbone}", network.dim, stage1), transform, precision, seen)
    with_head = " with its classifier" if draws_its_head(entry.class_for(resolved)[0]) else ""
    identity = {"stage1_recipe": "own" if plan is None else plan.name, "phase1": None if phase1 is None else phase1.hash + with_head}
    words = (*_data_words(options), "--mode", "end-to-end", *_schedule(options), *_how(options, precision))
    bench = EndToEndSource(
        data, network, manifest, hardware, precision=precision, compiled=options.compiled, best_test_epoch=options.best_test_epoch,
        backbone=backbone, phase1=phase1, start=start, directory=options.checkpoints, checkpoint_every=options.checkpoint_every,
        keep_epochs=options.keep_epochs,
    )  # fmt: skip
    return bench, Setting("images-train", "end-to-end", words, recipe, identity), None


def _check_phase1(plan: Stage1Recipe | None, path: Path | None, epochs: int) -> None:
    """Refuse a phase 1 whose length is not that of the recipe."""
    if plan is None or plan.phase1_epochs in (0, epochs):
        return
    given = "none is given" if path is None else f"{path} has {epochs or 'an unknown number'}"
    raise UserError(
        f"recipe {plan.name} is for a loss that begins after {plan.phase1_epochs} epochs of cross-entropy, and {given}: "
        f"give as --phase1 the epoch-{plan.phase1_epochs}.ckpt of `lt-bench pretrain --recipe {plan.name} --keep-epochs {plan.phase1_epochs}`"
    )


def _manifest(
    options: RunOptions, data: ImageData, backbone: BackboneInfo, transform: dict[str, str], precision: Precision, seen: Seen
) -> Manifest:
    """Manifest that a cache of these features would have, with ``fresh`` training views and labels as its only arrays."""
    profile = "" if data.profile == "exponential" else f" ({data.profile} profile)"
    factor = None if data.imbalance_factor is None else float(data.imbalance_factor)
    dataset = DatasetInfo(
        data.spec.name, data.class_names, data.train_counts, data.split_hash, factor, (data.selection or "given") + profile, seen.val_seen
    )
    more = {"train": ("fresh",), "test": ("flip",)}
    views: dict[str, tuple[str, ...]] = {split: ("plain", *more.get(split, ())) for split in data.splits}
    arrays = {f"{name}/labels": ArrayInfo((len(split),), "int64", ()) for name, split in data.splits.items()}
    name = f"images of {data.spec.name} through {backbone.name}"
    return Manifest(name, dataset, backbone, transform, DTYPES[precision], views, arrays, audit=_repeats(data))


def _repeats(data: ImageData) -> dict[str, Any]:
    """Images of the same pixels, as the audit of a cache counts them: what a record says of images that splits share."""
    labels = {name: split.labels for name, split in data.splits.items()}
    found = repeated({name: pixel_hashes(split) for name, split in data.splits.items()}, labels)
    return {"rows": found.sizes, "repeated_rows": found.counts}


def _data_words(options: RunOptions) -> tuple[str, ...]:
    """Command-line words that name images and backbone; DIR stands for the images' folder."""
    words = ["--data-dir", "DIR", "--backbone", str(options.backbone)]
    if options.imbalance_factor is not None:
        words += ["--imbalance-factor", text(options.imbalance_factor)]
    words += ["--profile", options.profile] if options.profile not in (None, "exponential") else []
    return (*words, *(["--selection", options.selection] if options.selection not in (None, "first") else []))


def _schedule(options: RunOptions) -> tuple[str, ...]:
    words = ["--recipe", options.recipe] if options.recipe is not None else []
    words += ["--epochs", str(options.epochs)] if options.epochs is not None else []
    return (*words, *(["--phase1", options.phase1.name] if options.phase1 is not None else []))


def _how(options: RunOptions, precision: Precision) -> tuple[str, ...]:
    words = ["--precision", precision]
    return (*words, *(["--compiled"] if options.compiled else []), *(["--best-test-epoch"] if options.best_test_epoch else []))
