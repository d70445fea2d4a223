"""Search for the cache of a verb: the named one, the only one that fits, or one extracted from the images. Free of torch until a cache is opened."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lt_bench.bench.options import CacheOptions, ExtractOptions
from lt_bench.bench.options.images import InputOptions
from lt_bench.bench.requirements import brings_weights, default_backbone, require_images
from lt_bench.bench.sources.same_images import as_recorded, of_the_images
from lt_bench.core.commands import text, word
from lt_bench.core.errors import UserError
from lt_bench.core.launchers import is_first_process
from lt_bench.data.specs import DatasetSpec, dataset_spec
from lt_bench.features.locate import find_cache, fitting_caches
from lt_bench.features.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from lt_bench.features.cache import FeatureCache


def resolve_cache(options: CacheOptions) -> FeatureCache:
    """The cache that the options mean, extracted first where it is not there.

    Raises:
        UserError: as ``find_fitting``; the extraction fails; ``--weights`` are not those of the cache that fits.
    """
    from lt_bench.features.cache import open_cache

    path = find_fitting(options)
    if path is None:
        return extracted(options)
    cache = open_cache(path)
    if options.data_dir is not None and is_first_process():
        print(f"lt-bench: {path} has the features of the images in {options.data_dir}", file=sys.stderr)  # noqa: T201
    if options.weights is not None:
        _check_weights(cache, options.weights)
    return cache


def find_fitting(options: CacheOptions) -> Path | None:
    """The directory of the cache that the options mean; None where it has to be extracted from the images they name.

    Raises:
        UserError: the named cache is of another data set, subset or images; several caches fit and none is named; or none fits, with what is needed to make one.
    """
    asked = [f"--{name.replace('_', '-')}" for name in ("image_size", "augment", "stage1_head") if getattr(options, name) is not None]
    if options.cache is not None:
        if asked:
            raise UserError(f"{', '.join(asked)}: for an extraction, and --cache names features that are there; leave one of them out")
        path = find_cache(options.cache)
        manifest = read_manifest(path)
        _check(path, manifest, options)
        if not of_the_images(manifest, as_recorded(manifest, options)):
            raise _other_images([(path, manifest)], options)
        return path
    if not options.dataset:
        raise UserError("--dataset is missing: name a data set (`lt-bench list datasets`) or a cache with --cache")
    spec = dataset_spec(options.dataset)
    factor = options.imbalance_factor if options.imbalance_factor is not None else spec.imbalance_factor
    backbone = default_backbone(spec.name, options.data_dir, options.backbone, options.weights)
    images = options.data_dir is not None and bool(backbone) and (options.weights is not None or brings_weights(backbone))
    # The cache of another person's folder would fit by name; that of these images is found by their split. What was asked for is in the name of an extraction.
    own = images and spec.num_classes is None and options.backbone is not None
    fitting = [] if own or asked else fitting_caches(spec.name, factor, options.backbone)
    fitting = [(path, manifest) for path, manifest in fitting if _fits_subset(manifest, options)]
    same = [(path, manifest) for path, manifest in fitting if of_the_images(manifest, options)]
    if fitting and not same and not images:
        raise _other_images(fitting, options)
    fitting = same
    if len(fitting) > 1:
        listed = "; ".join(f"{manifest.name} ({manifest.backbone.name}, {path})" for path, manifest in fitting)
        raise UserError(f"{len(fitting)} caches of {spec.name} fit, name one with --cache: {listed}")
    if fitting:
        return fitting[0][0]
    if not images:
        require_images(spec.name, options.data_dir, options.backbone, options.weights)
        raise UserError(how_to_get(spec, options))
    require_images(spec.name, options.data_dir, backbone, options.weights)
    return None


def extracted(options: CacheOptions) -> FeatureCache:
    """The cache of the images, backbone and weights that the options name, extracted now."""
    from lt_bench.bench.from_images import extract_images  # the image side is not needed where a cache is
    from lt_bench.features.cache import open_cache

    wanted = {field.name: getattr(options, field.name) for field in dataclasses.fields(CacheOptions) if field.name != "cache"}
    wanted["backbone"] = options.backbone or ""
    directory, _ = extract_images(ExtractOptions(**wanted, accelerator=getattr(options, "accelerator", "auto")))
    return open_cache(directory)


def _fits_subset(manifest: Manifest, options: CacheOptions) -> bool:
    """Whether a cache is of the subset asked for; true of every cache where no subset was."""
    selection, profile = manifest.dataset.subset
    return options.selection in (None, selection) and options.profile in (None, profile)


def _check(path: Path, manifest: Manifest, options: CacheOptions) -> None:
    info = manifest.dataset
    if options.dataset and info.name != options.dataset:
        raise UserError(f"{path}: a cache of {info.name}, and --dataset is {options.dataset}; name the right cache or data set")
    if options.imbalance_factor is not None and info.imbalance_factor != options.imbalance_factor:
        raise UserError(f"{path}: imbalance factor {info.imbalance_factor}, and --imbalance-factor is {text(options.imbalance_factor)}")
    if options.backbone is not None and manifest.backbone.name != options.backbone:
        raise UserError(f"{path}: features of {manifest.backbone.name}, and --backbone is {options.backbone}")
    if not _fits_subset(manifest, options):
        raise UserError(f"{path}: selection {info.selection}, and {_asked(options)}; name the right cache")


def _asked(options: CacheOptions) -> str:
    asked = {"--selection": options.selection, "--profile": options.profile}
    return ", ".join(f"{name} is {value}" for name, value in asked.items() if value is not None)


def _other_images(caches: Sequence[tuple[Path, Manifest]], options: CacheOptions) -> UserError:
    listed = ", ".join(f"{path} (split {manifest.dataset.split_hash})" for path, manifest in caches)
    return UserError(
        f"{listed}: not of the images in {options.data_dir} (where a split was made of them, with --split-seed {options.split_seed}); leave --data-dir out to use such a cache all the same, or give --backbone and --weights, and "
        "no --cache, to extract these images"
    )


def _check_weights(cache: FeatureCache, weights: Path) -> None:
    """Refuse a cache that was made with other weights than those named."""
    from lt_bench.backbones.loading import load_backbone
    from lt_bench.features.cache import require

    info, backbone = cache.manifest.dataset, cache.manifest.backbone.name
    require_images(info.name, None, backbone, weights)
    require(cache, weights_hash=load_backbone(backbone, weights, info.num_classes, info.name, info.train_counts).weights_hash)


def how_to_get(spec: DatasetSpec, options: CacheOptions) -> str:
    """Message, one line: the caches of the data set that there are, or what features of its images need, and the next command."""
    named = f"--dataset {spec.name} --data-dir {word(options.data_dir or 'DIR')} --backbone {word(options.backbone or 'NAME')}{_inputs_asked(options)}"
    factor = "" if options.imbalance_factor is None else f" --imbalance-factor {text(options.imbalance_factor)}"
    if options.data_dir is not None:
        lacking = [flag for flag, value in (("--backbone NAME", options.backbone), ("--weights FILE", options.weights)) if value is None]
        return (
            f"no feature cache of the images in {options.data_dir} is here, and to make one {' and '.join(lacking)} is missing; weights of your own come from "
            f"`lt-bench pretrain {named} --out OUT`, published ones are named in docs/backbones.md"
        )
    others = ", ".join(
        f"{manifest.name} (imbalance factor {manifest.dataset.imbalance_factor})" for _, manifest in fitting_caches(spec.name)
    )
    files = ", ".join(need.path for need in spec.needs)
    return (
        f"no feature cache of {spec.name} {'with these options' if others else ''} is here{f'; there is {others}' if others else ''}; to make one: {spec.obtain}"
        f"{f' (needed: {files})' if files else ''}, then `lt-bench extract {named} --weights FILE`; or, with embeddings of your own, "
        f"`lt-bench import-features --dataset {spec.name} --name NAME{factor} --train train.npz --test test.npz`"
    ).replace("  ", " ")


def _inputs_asked(options: CacheOptions) -> str:
    """The given options on subset and images, as words of a command, so that the suggested command makes the cache that was asked for."""
    usual = InputOptions()
    given = {
        field.name: getattr(options, field.name) for field in dataclasses.fields(InputOptions) if field.name not in ("dataset", "data_dir")
    }
    return "".join(f" --{name.replace('_', '-')} {word(value)}" for name, value in given.items() if value != getattr(usual, name))
