"""``lt-bench extract`` and ``pretrain``: calls of the extraction and of stage 1 by the verbs' options."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lt_bench.bench.options import ExtractOptions, PretrainOptions, WritingOptions, reading
from lt_bench.bench.requirements import NEEDS_IMAGES
from lt_bench.core.devices import pick_device
from lt_bench.core.errors import UserError
from lt_bench.data.load import load_images
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
    if not options.backbone or options.weights is None:
        raise UserError("extract needs --backbone NAME and --weights FILE, the network and its stage-1 weights")
    data = load_images(options.dataset, options.data_dir, **reading(options))
    name = options.name or _free_name(cache_name(options), data.split_hash)
    out = options.out or home() / "caches" / name
    request = Request(
        data=data, backbone=options.backbone, weights=options.weights, out=out,
        name=name, views=options.views, dtype=options.dtype, standardise=options.standardise, device=pick_device(options.accelerator), stage1=options.stage1,
        batch_size=options.batch_size, workers=options.workers, skip_broken=options.skip_broken,
        val_seen_by_backbone=options.val_seen_by_backbone, devices=options.devices,
        command=_command("extract", options, backbone=options.backbone, weights=options.weights.name, standardise=options.standardise),
    )  # fmt: skip
    return out, extract(request)


def pretrain_images(options: PretrainOptions) -> Pretrained:
    """Train stage 1 and extract the cache; returns where everything is.

    Raises:
        UserError: an option is missing, or anything that ``bench.pretrain.pretrain`` refuses.
    """
    from lt_bench.bench.pretrain import pretrain  # and with it Lightning, which extraction does without

    return pretrain(
        options,
        command=_command(
            "pretrain", options, backbone=options.backbone, weights=options.weights and options.weights.name, recipe=options.recipe, seed=options.seed, epochs=options.epochs,
            precision=options.precision, compiled=options.compiled, half_weights=options.half_weights,
        ),
    )  # fmt: skip


def _free_name(name: str, split_hash: str) -> str:
    """The name of a cache, with the hash of its images where a cache of other images has it: those in a folder were changed since."""
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
    subset = [] if factor is None else [f"if{factor:g}"]
    subset += [value for value, usual in ((options.profile, "exponential"), (options.selection, "first")) if value not in (None, usual)]
    return "-".join([spec.name, *own, *subset, options.backbone.replace("/", "_"), *(["standardised"] if options.standardise else [])])


def _command(verb: str, options: WritingOptions, **more: object) -> str:
    """The line that does it again, DIR standing for where the images are."""
    given = {"dataset": options.dataset, **reading(options), "views": options.views, "dtype": options.dtype, **more}
    usual = reading(WritingOptions())
    words = ["lt-bench", verb, "--data-dir", "DIR"]
    for name, value in given.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value is not None and value is not False and (name not in usual or value != usual[name]):
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)
