"""Images through a frozen backbone to a feature cache, shard by shard, by one process or several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.folding import folded
from lt_bench.backbones.loading import Loaded, load_backbone
from lt_bench.core.errors import UserError
from lt_bench.core.launchers import layout, started_by_launcher
from lt_bench.core.processes import Processes, process_group
from lt_bench.data.images.augment import Normalise
from lt_bench.data.images.broken import without_broken
from lt_bench.data.images.image_list import Broken, FileData, refusal, sample_name
from lt_bench.data.near import near_images
from lt_bench.data.readers.small_images import ImageData
from lt_bench.features.audit import option, require_precision_of_some
from lt_bench.features.cache import open_cache
from lt_bench.features.extraction.earlier import Fresh
from lt_bench.features.extraction.inputs import Inputs, inputs_of, require_size
from lt_bench.features.extraction.pace import Pace, Spent, summary
from lt_bench.features.extraction.publish import VERB, publish
from lt_bench.features.extraction.request import Request
from lt_bench.features.extraction.self_test import self_test
from lt_bench.features.extraction.sources import Batch, FileSource, MemorySource, Run, Source, default_workers
from lt_bench.features.independence import seen_images
from lt_bench.features.manifest import Manifest, cache_key
from lt_bench.features.resumable import Resumable, SplitPlan, identity, only_one
from lt_bench.features.write import Description, new_place

CPU_BATCH = 16  # views whose activations stay in a processor's cache
SHARD_VIEWS = 2250  # views between two points that a killed extraction can go on from
SOME = 64  # training images on which the stored type is tried before hours of work


def extract(request: Request) -> Manifest:
    """Write the feature cache of a data set under a backbone; return at once where it is there already.

    The backbone is in eval mode, in float32. Train: the plain view and ``request.views`` augmented ones, each seeded by its number (files: and by the image's
    row); val: plain; test: plain and flipped. Killed, the same call goes on from the last shards; two calls that write the same cache wait for each other.

    With several devices, or under torchrun, every process takes its share of the shards, and what they write is byte for byte what one would; ``request.out``
    has to be on a file system that all nodes share. Lightning starts the other processes by running the program again, so call this from a script that may be.

    Raises:
        UserError: data or weights are missing or do not fit, an image is broken, or ``request.out`` holds another cache.
    """
    data = request.data
    request = replace(request, out=Path(os.path.realpath(request.out)))  # a cache takes the place of a folder, not of a link to one
    loaded = load_backbone(request.backbone, request.weights, len(data.train_counts), data.spec.name, data.train_counts, request.prompt)
    request = request.with_origin_of_head(loaded)
    inputs = inputs_of(data, request.backbone, loaded.recipe.encoder, request.image_size, request.augment, loaded.transform)
    require_size(loaded.network, request.backbone, request.image_size)
    description = request.description(loaded, inputs)
    where = layout(request.devices)
    if (where.world == 1 or not started_by_launcher()) and (existing := request.existing(description)) is not None:
        return existing
    with process_group(where, request.device.type) as processes:
        own = replace(request, device=processes.device, progress=request.progress and processes.is_first)
        console = Console(stderr=True, quiet=not own.progress)
        for note in (*loaded.notes, *(() if loaded.head or request.fit_head else ("the cache has no stage-1 head",))):
            console.print(note, soft_wrap=True, markup=False, highlight=False)
        waiting = f"{own.out}: another process is extracting this cache; waiting for it"
        with only_one(own.out, waiting) if processes.is_first else nullcontext():
            existing = processes.first_does(lambda: own.existing(description))  # another call may have written it meanwhile
            manifest = existing if existing is not None else _extract_missing(own, loaded, inputs, description, console, processes)
        if processes.is_first and loaded.imported and (verdict := self_test(open_cache(own.out), loaded)):
            console.print(verdict, soft_wrap=True, markup=False, highlight=False)
        return manifest


def _extract_missing(
    request: Request, loaded: Loaded, inputs: Inputs, description: Description, console: Console, processes: Processes
) -> Manifest:
    processes.first_does(lambda: new_place(request.out))
    description = processes.first_does(lambda: _compared(request, loaded, inputs, console, processes.local))
    network = _for_inference(request, loaded.network, inputs.augmentation.size)
    plans = request.plans()
    if request.earlier is not None:
        request.earlier.require(description, plans)
    fresh = Fresh.of(request.earlier, plans)
    source = _source(request, inputs, processes.local, fresh)
    batch = request.batch_size or (250 if inputs.augmentation.size < 64 else 125 if request.device.type == "cuda" else CPU_BATCH)
    shard = max(1, SHARD_VIEWS // (request.views + 1))
    key = identity(
        key=cache_key(request.described_fields(description)),
        batch=batch,
        shard=shard,
        device=request.device.type,
        torch=torch.__version__,
        sums=True,
        **({"validation": data_hash} if (data_hash := request.data.val_hash) else {}),
        **({} if request.earlier is None else {"earlier": request.earlier.cache.key}),
    )
    store_of = partial(Resumable, request.out, key, plans, loaded.network.dim, request.dtype, shard, standardise=request.standardise)
    missing = processes.first_does(lambda: _missing(store_of()))
    store = processes.each_does(lambda: store_of(lay_out=False))
    totals = {split: len(plan) * len(plan.views) for split, plan in plans.items()}
    pace = Pace(request.name, totals, console if request.progress else None, store.views_written if processes.world > 1 else None)
    for split, plan in plans.items():
        pace.skip(split, len(plan.views) * (len(plan) - sum(stop - start for start, stop in fresh.runs(split, missing[split]))))
    forward = _Forward(network, Normalise(inputs.evaluation.mean, inputs.evaluation.std).to(request.device), request.device)
    untouched = request.earlier is None and missing == {split: store.every_shard(split) for split in plans}
    if untouched and sum(totals.values()) > 100 * SOME:
        processes.first_does(lambda: _try_storage(request, forward, source, len(plans["train"]), batch))

    def write() -> Spent:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False), torch.inference_mode():
            for split, shards in _share(missing, processes).items():
                features = _features(forward, source, split, plans[split], fresh.runs(split, shards), batch, pace)
                with store.stopping():
                    _write_shards(request, store, split, shards, features, fresh)
        return pace.spent()

    spent = processes.all_do(write)
    console.print(summary(request.name, spent, decodes=isinstance(request.data, FileData)), markup=False, highlight=False, soft_wrap=True)
    return processes.first_does(lambda: publish(request, store, description, loaded.head, console))


def _for_inference(request: Request, network: Backbone, size: int) -> Backbone:
    """The network on its device; for image files on a CPU with its BatchNorms folded, which makes EfficientNet-Lite 1.4 to 1.8 times as fast."""
    if request.device.type == "cpu" and isinstance(request.data, FileData):
        network = folded(network, size)
    return network.to(memory_format=torch.channels_last).to(request.device)


def _compared(request: Request, loaded: Loaded, inputs: Inputs, console: Console, processes: int) -> Description:
    """The description with what the weights say of the images that they were trained on; validation images among them are marked as seen.

    Near-identical images across the splits of a person's own images are named, after a look that finds broken ones too.

    Raises:
        UserError: the weights were trained on test images; or images are broken, and are not to be left out or leave too little.
    """
    near = None
    if request.data.spec.num_classes is None:  # of benchmarks, whose splits are given, `data check --decode -1` says it
        near = near_images(request.data, _workers(request, processes))
        _require_readable(request, near.broken)
    seen = seen_images(request.data, loaded.rows, request.weights, _workers(request, processes))
    for split, count in seen.images:
        if count:
            console.print(f"{count:,} {split} images are among those that the weights were trained on", highlight=False, soft_wrap=True)
    if seen.val_seen:
        console.print("validation images were seen by the backbone: `lt-bench tune` will refuse them", highlight=False, soft_wrap=True)
    independence = {"split": request.data.val_source} | seen.record()
    if near is not None:
        independence |= near.record()
        for line in near.lines():
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    request = replace(request, val_seen_by_backbone=request.val_seen_by_backbone or seen.val_seen)
    return replace(request.description(loaded, inputs), independence=independence)


def _require_readable(request: Request, broken: Broken) -> None:
    """Refuse broken images before the backbone runs.

    Raises:
        UserError: there are some, and they are not to be left out; or a class or split has no image without them.
    """
    reasons = [why for of_split in broken.values() for why in of_split.values()]
    if reasons and not request.skip_broken:
        raise UserError(refusal(reasons))
    if isinstance(request.data, FileData):
        without_broken(request.data, [broken])


def _missing(store: Resumable) -> dict[str, list[Run]]:
    return {split: store.shards(split) for split in store.splits}


def _share(missing: Mapping[str, Sequence[Run]], processes: Processes) -> dict[str, list[Run]]:
    """The shards of this process: every world-th of all that are missing, so that no process has more than one shard more than another."""
    shards = [(split, shard) for split in missing for shard in missing[split]][processes.rank :: processes.world]
    return {split: [shard for name, shard in shards if name == split] for split in missing}


def _features(
    forward: _Forward, source: Source, split: str, plan: SplitPlan, shards: Sequence[Run], batch: int, pace: Pace
) -> Iterator[tuple[Batch, dict[str, Tensor]]]:
    """Features by view of every batch of the shards, runs of positions in the source; the next batch is fetched while the device works on one."""
    flip = "flip" in plan.views
    views = [view for view in plan.views if view != "flip"]
    n = max(1, batch // len(plan.views))
    runs = [(start, min(start + n, stop)) for begin, stop in shards for start in range(begin, stop, n)]
    waiting: tuple[Batch, Tensor] | None = None
    for one in pace.timed(source.batches(split, views, runs)):
        started = forward(one.images, flip)
        if waiting is not None:
            yield waiting[0], dict(zip(plan.views, waiting[1].cpu().unbind(1), strict=True))
        waiting = one, started
        pace.advance(split, len(one.images) * len(plan.views))
    if waiting is not None:
        yield waiting[0], dict(zip(plan.views, waiting[1].cpu().unbind(1), strict=True))


class _Forward:
    """Views (n, V, 3, H, W) uint8 to features (n, V, D) float32, a mirrored view last where asked for."""

    def __init__(self, network: Backbone, normalise: Normalise, device: torch.device) -> None:
        self.network, self.normalise, self.device = network, normalise, device

    def __call__(self, images: Tensor, flip: bool) -> Tensor:
        on_device = images.to(self.device, non_blocking=True)
        if flip:
            on_device = torch.cat([on_device, on_device[:, :1].flip(-1)], dim=1)
        inputs = self.normalise(on_device.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        return self.network.features(inputs).float().unflatten(0, on_device.shape[:2])


def _try_storage(request: Request, forward: _Forward, source: Source, count: int, batch: int) -> None:
    """Refuse at once a stored type that loses the features of ``SOME`` images at even distances over the training images.

    Raises:
        UserError: it loses them.
    """
    if request.standardise or request.dtype == "float32":
        return
    runs = [(i, i + 1) for i in torch.linspace(0, count - 1, SOME).long().unique().tolist()]
    images = [one.images for one in source.batches("train", ["plain"], runs) if not one.broken]
    with torch.inference_mode():
        parts = [forward(part, False).cpu()[:, 0] for part in torch.cat(images).split(batch)] if images else []
    if parts and bool(torch.cat(parts).isfinite().all()):  # rows that are not finite are refused by name
        require_precision_of_some(request.dtype, torch.cat(parts), VERB)


def _write_shards(
    request: Request,
    store: Resumable,
    split: str,
    shards: Sequence[Run],
    batches: Iterator[tuple[Batch, dict[str, Tensor]]],
    fresh: Fresh,
) -> None:
    """Write the shards as their batches come, unless another process has failed."""
    for (start, stop), (first, last) in zip(shards, fresh.runs(split, shards), strict=True):
        if store.stopped():
            return
        pieces: list[dict[str, Tensor]] = []
        broken: dict[int, str] = {}
        count = 0
        while count < last - first:
            batch, features = next(batches)
            reasons = {int(fresh.positions[split][i]): why for i, why in batch.broken.items()}
            if reasons and not request.skip_broken:
                i, why = next(iter(reasons.items()))
                raise UserError(refusal([f"{sample_name(request.data, split, i)}: {why}"]))
            broken |= reasons
            pieces.append(features)
            count += len(batch.images)
        shard = fresh.shard(split, start, stop, pieces)
        _check_finite(request, split, start, shard)
        store.write(split, start, shard, broken)


def _check_finite(request: Request, split: str, start: int, features: dict[str, Tensor]) -> None:
    limit = torch.finfo(torch.float32 if request.dtype == "float32" or request.standardise else torch.float16).max
    for view, values in features.items():
        bad = ~(values.abs() <= limit).all(1)
        if bool(bad.any()):
            i = int(bad.nonzero()[0])
            finite = bool(values[i].isfinite().all())
            raise UserError(
                f"{sample_name(request.data, split, start + i)}: its features ({view} view) are "
                + (
                    f"beyond the range of {request.dtype}; store them with {option('--dtype float32', VERB)} or standardise them with {option('--standardise', VERB)}"
                    if finite
                    else "not finite; wrong weights or transform?"
                )
            )


def _source(request: Request, inputs: Inputs, processes: int, fresh: Fresh) -> Source:
    if isinstance(request.data, ImageData):
        return MemorySource(request.data, request.device)
    workers = _workers(request, processes)
    return FileSource(fresh.of_data(request.data), inputs.evaluation, inputs.augmentation, upright=inputs.upright, workers=workers)


def _workers(request: Request, processes: int) -> int:
    return default_workers(request.device, processes) if request.workers is None else request.workers
