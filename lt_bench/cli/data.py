"""The verbs that make features: ``data check``, ``import-features``, ``extract``, ``pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_bench.bench.options import DataOptions, ExtractOptions, ImportOptions, PretrainOptions, reading
from lt_bench.cli.output import Output
from lt_bench.core.commands import word
from lt_bench.core.errors import UserError
from lt_bench.core.launchers import is_first_process

if TYPE_CHECKING:
    from lt_bench.features.collapse import Collapse
    from lt_bench.features.manifest import Manifest


def data_verb(options: DataOptions, output: Output) -> None:
    """Print which files of a data set are present and which are missing.

    Raises:
        UserError: no such action; or as ``data.check.check_dataset``.
    """
    from lt_bench.data.check import check_dataset

    if options.action != "check":
        raise UserError(f"data {options.action or '?'}: there is `lt-bench data check NAME --data-dir DIR`")
    if not options.dataset:
        raise UserError(
            "data check needs the name of a data set, e.g. `lt-bench data check imagenet_lt --data-dir DIR`; `lt-bench list datasets`"
        )
    checked = check_dataset(options.dataset, options.data_dir, output.say, decode=options.decode, **reading(options))
    data = checked.data
    images = {split: len(one) for split, one in data.splits.items()}
    about = {"dataset": data.spec.name, "images": images, "class_names": data.class_names, "train_counts": data.train_counts}
    output.data(about | {"validation": data.val_source, "split_hash": data.split_hash, "left_out": data.no_images, **checked.noticed})


def import_verb(options: ImportOptions, output: Output) -> None:
    """Arrays in files to a feature cache.

    Raises:
        UserError: as ``features.import_arrays.import_features``.
    """
    import numpy as np

    from lt_bench.bench.linear_head import fit_and_tell
    from lt_bench.data.split_remarks import lacking_validation
    from lt_bench.features.audit import summary
    from lt_bench.features.collapse import collapse_line, collapse_of
    from lt_bench.features.import_arrays import import_features
    from lt_bench.features.manifest import parted

    cache = import_features(**vars(options), fit_head=fit_and_tell)
    manifest = cache.manifest
    samples = f"{sum(manifest.dataset.train_counts):,} x {manifest.backbone.dim}"
    output.say(f"wrote {cache.path}: {manifest.name}, key {manifest.key}, {samples}, views {manifest.views}")
    collapse = collapse_of(cache)
    for line in (*summary(manifest.audit), collapse_line(collapse)):
        output.say(line)
    if options.stage1_head is not None:
        output.say(f"fitted a stage-1 head: {parted(manifest.backbone.stage1)[1]}")
    elif options.head is None:
        output.say("no stage-1 head: strategies that start from one will refuse; --stage1-head fit makes one of these features")
    if cache.has("val"):
        seen = manifest.dataset.val_seen_by_backbone
        output.say(
            "validation was seen by the backbone or its head: `lt-bench tune` will refuse it; --val-seen-by-backbone false where it was not"
            if seen
            else "validation counts as unseen by the backbone; --val-seen-by-backbone where it was trained on these rows"
        )
        dataset = manifest.dataset
        counts = np.bincount(cache.labels("val").numpy(), minlength=dataset.num_classes)
        if lacking := lacking_validation(counts, dataset.train_counts, dataset.class_names):
            output.say(lacking)
    output.data(_facts(cache.path, manifest, collapse))


def extract_verb(options: ExtractOptions, output: Output) -> None:
    """Images to a feature cache.

    Raises:
        UserError: as ``bench.from_images.extract_images``.
    """
    from lt_bench.bench.from_images import extract_images
    from lt_bench.features.cache import FeatureCache
    from lt_bench.features.collapse import collapse_of

    directory, manifest = extract_images(options)
    if is_first_process():
        output.say(f"{directory}: {manifest.name}, key {manifest.key}, {sum(manifest.dataset.train_counts):,} x {manifest.backbone.dim}")
        output.data(_facts(directory, manifest, collapse_of(FeatureCache(directory, manifest))))


def _facts(directory: Path, manifest: Manifest, collapse: Collapse) -> dict[str, Any]:
    """A cache that was made, as JSON."""
    about = {"cache": directory, "name": manifest.name, "key": manifest.key, "views": manifest.views, "audit": manifest.audit}
    return about | {"collapse": collapse}


def pretrain_verb(options: PretrainOptions, output: Output) -> None:
    """Stage 1, and its feature cache.

    Raises:
        UserError: as ``bench.from_images.pretrain_images``.
    """
    from lt_bench.bench.from_images import pretrain_images

    done = pretrain_images(options)
    if is_first_process():
        output.say(
            f"weights {done.weights}, log {done.log}, cache {done.cache} (key {done.manifest.key}); use it with --cache {word(done.cache)}"
        )
        output.data({"weights": done.weights, "log": done.log, "cache": done.cache, "key": done.manifest.key})
