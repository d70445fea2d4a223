"""The cache, strategy and images that an update starts from, each checked before anything goes through the backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lt_bench.bench.execute import require_writable
from lt_bench.bench.options import UpdateOptions
from lt_bench.bench.planning import CLEAN, Planned, Setting, plan
from lt_bench.bench.requirements import brings_weights
from lt_bench.bench.verify import cache_by_key
from lt_bench.core.devices import pick_device
from lt_bench.core.errors import UserError
from lt_bench.core.files import require_place
from lt_bench.data.images.broken import broken_images, without_broken
from lt_bench.data.images.image_list import FileData, refusal
from lt_bench.data.specs import dataset_names, dataset_spec
from lt_bench.deploy.export import IMPORTED
from lt_bench.deploy.files import PROGRAM, require_export_place
from lt_bench.features.cache import FeatureCache
from lt_bench.features.extraction.earlier import Earlier
from lt_bench.features.extraction.joined_images import Changes
from lt_bench.features.extraction.sources import default_workers
from lt_bench.features.locate import home
from lt_bench.results.record import MATMUL
from lt_bench.strategies.registry import find

Say = Callable[[str], None]


def cache_of(description: Mapping[str, Any], options: UpdateOptions) -> FeatureCache:
    """The cache of an export.

    Raises:
        UserError: it is not here, the named one is another, or it is not of a person's own images.
    """
    if description["head"]["kind"] == "program" and not options.trust_program:
        raise UserError(
            f"{options.export}: its head is a program, which runs as code here when the two are compared; if you trust who made it, say --trust-program"
        )
    wanted = description["provenance"]["cache"]
    cache = cache_by_key(wanted["key"], wanted["name"], options.cache, description["provenance"]["command"])
    manifest = cache.manifest
    name, backbone = manifest.dataset.name, manifest.backbone.name
    if manifest.transform["evaluation"] == IMPORTED:
        raise UserError(
            f"{options.export}: of imported features; import those of all images with `lt-bench import-features`, run and export"
        )
    if name not in dataset_names() or dataset_spec(name).num_classes is not None:
        raise UserError(f"{options.export}: of {name}; update is for images of your own (folder, table)")
    if options.weights is None and not brings_weights(backbone):
        raise UserError(f"update needs --weights FILE, the weights of {backbone} with which cache {manifest.name} was extracted")
    if manifest.dtype == "affine8" or (manifest.dtype == "float16" and cache.standardisation() is not None):
        raise UserError(
            f"cache {manifest.name} stores rounded features, and each update would round the earlier ones again; extract all images anew with `lt-bench extract --dtype float32`, run and export"
        )
    return cache


def require_strategy(description: Mapping[str, Any], cache: FeatureCache, say: Say) -> None:
    """Check that the strategy is here, before the long extraction, and report where its code has changed since the export.

    Raises:
        UserError: it is not here, or its hyper-parameters do not fit.
    """
    provenance = description["provenance"]
    then, now = provenance.get("code"), planned_on(description, cache)[0].code.text
    if then not in (None, now):
        say(
            f"the code of {provenance['strategy']} has changed since the export ({then}, now {now}): what differs below is due to both, code and images"
        )


def require_places(cache: FeatureCache, options: UpdateOptions) -> None:
    """Refuse places of record, cache and export that cannot be written, before the long extraction.

    Raises:
        UserError: one cannot be written, or the new export would take the place of the earlier one.
    """
    require_writable(options.results / cache.manifest.dataset.name)
    if options.out is not None and options.export is not None and options.out.resolve() == options.export.resolve():
        raise UserError(f"--out {options.out}: the earlier classifier is there, and stays; name another place")
    require_place(home() / "caches", "choose another home with LT_BENCH_HOME", "the cache")  # --out is the place of the export
    if options.out is not None:
        require_export_place(options.out, (PROGRAM,))
    elif options.export is not None:
        require_place(options.export.absolute().parent, "choose another place with --out", "an export")


def planned_on(description: Mapping[str, Any], cache: FeatureCache) -> list[Planned]:
    """The run of the export's strategy on a cache, with the same hyper-parameters and seed."""
    provenance = description["provenance"]
    given = dict(provenance["hyperparameters"])
    setting = Setting(matmul=given.pop(MATMUL, CLEAN.matmul))
    return plan(find(provenance["strategy"]), cache.manifest, given, [provenance["seed"]], setting=setting)


def readable(data: FileData, earlier: Earlier, changes: Changes, options: UpdateOptions, say: Say) -> tuple[FileData, Earlier, Changes]:
    """Leave new images that cannot be decoded out of the data, the positions in the earlier cache and the changes.

    Raises:
        UserError: there are such images and ``skip_broken`` is not set; or a class has no training image left.
    """
    new = {split: np.flatnonzero(positions < 0) for split, positions in earlier.positions.items()}
    workers = default_workers(pick_device("cpu")) if options.workers is None else options.workers
    broken = broken_images(replace(data, splits={split: data.splits[split].take(rows) for split, rows in new.items()}), workers)
    if not (reasons := [why for of_split in broken.values() for why in of_split.values()]):
        return data, earlier, changes
    if not options.skip_broken:
        raise UserError(refusal(reasons))
    say(f"new images that cannot be decoded are left out: {len(reasons):,}, the first is {reasons[0]}")
    at = {split: {int(new[split][i]): why for i, why in of_split.items()} for split, of_split in broken.items()}
    data, _ = without_broken(data, [at])
    positions = {split: np.delete(of_split, list(at[split])) for split, of_split in earlier.positions.items()}
    joined = {split: count - len(at[split]) for split, count in changes.joined.items()}
    return data, replace(earlier, positions=positions), replace(changes, joined=joined)
