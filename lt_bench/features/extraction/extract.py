"""`lt-bench extract`: images through a frozen backbone to a feature cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Unpack

import torch
from rich.console import Console
from torch import Tensor

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.loading import Loaded, load_backbone
from lt_bench.core.errors import UserError
from lt_bench.core.launchers import layout, started_by_launcher
from lt_bench.core.processes import Processes, process_group
from lt_bench.data.images.augment import Normalise
from lt_bench.data.images.image_list import FileData
from lt_bench.data.load import load_images
from lt_bench.data.readers.small_images import ImageData
from lt_bench.data.reading import Reading
from lt_bench.features.cache import open_cache, require
from lt_bench.features.extraction.inputs import Inputs, inputs_of
from lt_bench.features.extraction.pace import Pace, Spent, words
from lt_bench.features.extraction.publish import published, sample_name
from lt_bench.features.extraction.self_test import self_test
from lt_bench.features.extraction.sources import Batch, FileSource, MemorySource, Run, Source, default_workers
from lt_bench.features.manifest import FORMAT_VERSION, LISTED, MANIFEST_NAME, BackboneInfo, DatasetInfo, Manifest, cache_key, key_fields
from lt_bench.features.resumable import Resumable, SplitPlan, identity, only_one
from lt_bench.features.write import Description

DTYPES = ("float16", "float32", "affine8")
SHARD_VIEWS = 2250  # views between two points that a killed extraction can go on from


def extract(
    *,
    dataset: str,
    data_dir: Path,
    backbone: str,
    weights: Path | str,
    out: Path,
    views: int = 8,
    dtype: str = "float16",
    batch_size: int | None = None,
    workers: int | None = None,
    skip_broken: bool = False,
    val_seen_by_backbone: bool = False,
    accelerator: str = "auto",
    devices: int = 1,
    name: str | None = None,
    stage1: str = "",
    command: str = "",
    progress: bool = True,
    **reading: Unpack[Reading],
) -> Manifest:
    """Write the feature cache of a data set under a backbone; return at once where it is there already.

    The backbone is in eval mode, in float32. Train: the plain view and ``views`` augmented ones, each seeded by its number (files: and by the image's row);
    val: plain; test: plain and flipped. Killed, the same call goes on from the last shards; two calls that write the same cache wait for each other.

    With several devices, or under torchrun, every process takes its share of the shards, and what they write is byte for byte what one would; ``out`` has to
    be on a file system that all nodes share. Lightning starts the other processes by running the program again, so call this from a script that may be.

    Args:
        dataset: name of the data set.
        data_dir: where its images are.
        backbone: name of the network.
        weights: its weights.
        out: directory of the cache.
        views: augmented views of each training image.
        dtype: float16, float32 or affine8.
        batch_size: views a forward; by default 250, and 125 from 64 pixels on.
        workers: decoding processes; 0 decodes in this one.
        skip_broken: leave images out that cannot be decoded, and name them, instead of stopping.
        val_seen_by_backbone: whether stage 1 was trained on the validation images.
        accelerator: auto, cpu or gpu.
        devices: processes on this node, one device each; under torchrun its number counts.
        name: of the cache, by default that of ``out``.
        stage1: how the backbone was trained, in words.
        command: how to make the cache again.
        progress: whether to say how far it is.
        reading: how the images are read, see ``Reading``.

    Raises:
        UserError: data or weights are missing or do not fit, an image is broken, or ``out`` holds another cache.
    """
    data = load_images(dataset, data_dir, **reading)
    request = Request(
        data=data, backbone=backbone, weights=weights, out=out, views=views, dtype=dtype, batch_size=batch_size, device=pick_device(accelerator),
        devices=devices, workers=workers, skip_broken=skip_broken, val_seen_by_backbone=val_seen_by_backbone, name=name or out.name, stage1=stage1, command=command,
        progress=progress,
    )  # fmt: skip
    return extract_images(request)


@dataclass(frozen=True)
class Request:
    """What ``extract_images`` needs, with the data set already found; the fields are the arguments of ``extract``."""

    data: ImageData | FileData
    backbone: str
    weights: Path | str
    out: Path
    device: torch.device
    name: str
    devices: int = 1
    views: int = 8
    dtype: str = "float16"
    batch_size: int | None = None
    workers: int | None = None
    skip_broken: bool = False
    val_seen_by_backbone: bool = False
    stage1: str = ""
    command: str = ""
    progress: bool = True


def extract_images(request: Request) -> Manifest:
    """Extract from a data set that was found; see ``extract``."""
    if request.views < 0:
        raise UserError(f"views is {request.views}, expected 0 or more")
    if request.dtype not in DTYPES:
        raise UserError(f"dtype {request.dtype!r} is not one of {', '.join(DTYPES)}")
    data = request.data
    loaded = load_backbone(request.backbone, request.weights, len(data.train_counts), data.spec.name, data.train_counts)
    inputs = inputs_of(data, request.backbone, loaded.recipe.encoder)
    description = _description(request, loaded, inputs)
    where = layout(request.devices)
    if where.world == 1 or not started_by_launcher():
        present = _present(request, description)
        if present is not None:
            return present
    with process_group(where, request.device.type) as processes:
        mine = replace(request, device=processes.device, progress=request.progress and processes.is_first)
        console = Console(stderr=True, quiet=not mine.progress)
        for note in loaded.notes:
            console.print(note, soft_wrap=True, highlight=False)
        with _alone(mine.out) if processes.is_first else nullcontext():
            present = processes.first_does(lambda: _present(mine, description))  # another call may have made it
            manifest = present if present is not None else _extracted(mine, loaded, inputs, description, console, processes)
        if processes.is_first and loaded.imported and (told := self_test(open_cache(mine.out), loaded)):
            console.print(told, soft_wrap=True, highlight=False)
        return manifest


def _alone(out: Path) -> AbstractContextManager[None]:
    return only_one(out, f"{out}: another process is extracting this cache; waiting for it")


def pick_device(accelerator: str) -> torch.device:
    """The device of an accelerator's name.

    Raises:
        UserError: a GPU is asked for and there is none, or the name is unknown.
    """
    if accelerator not in ("auto", "cpu", "gpu", "cuda"):
        raise UserError(f"accelerator {accelerator!r} is not one of auto, cpu, gpu")
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UserError("no CUDA device is available; use --accelerator cpu")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def _extracted(
    request: Request, loaded: Loaded, inputs: Inputs, description: Description, console: Console, processes: Processes
) -> Manifest:
    network = loaded.network.to(memory_format=torch.channels_last).to(request.device)
    source, plans = _source(request, inputs, processes.local), _plans(request)
    batch = request.batch_size or (250 if inputs.augmentation.size < 64 else 125)
    shard = max(1, SHARD_VIEWS // (request.views + 1))
    key = identity(
        key=cache_key(_key_fields(request, description)), batch=batch, shard=shard, device=request.device.type, torch=torch.__version__
    )
    store_of = partial(Resumable, request.out, key, plans, loaded.network.dim, request.dtype, shard)
    left = processes.first_does(lambda: _left(store_of()))
    store = processes.each_does(lambda: store_of(lay_out=False))
    totals = {split: len(plan) * len(plan.views) for split, plan in plans.items()}
    pace = Pace(request.name, totals, console if request.progress else None, store.views_written if processes.world > 1 else None)
    for split, plan in plans.items():
        pace.skip(split, len(plan.views) * (len(plan) - sum(stop - start for start, stop in left[split])))
    forward = _Forward(network, Normalise(inputs.evaluation.mean, inputs.evaluation.std).to(request.device), request.device)

    def write() -> Spent:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False), torch.inference_mode():
            for split, shards in _share(left, processes).items():
                passed = _passed(forward, source, split, plans[split], shards, batch, pace)
                with store.stopping():
                    _fill(request, store, split, shards, passed)
        return pace.spent()

    spent = processes.all_do(write)
    console.print(words(request.name, spent, decodes=isinstance(request.data, FileData)), highlight=False, soft_wrap=True)
    return processes.first_does(lambda: published(request.data, store, description, loaded.head, console))


def _left(store: Resumable) -> dict[str, list[Run]]:
    return {split: store.shards(split) for split in store.splits}


def _share(left: Mapping[str, Sequence[Run]], processes: Processes) -> dict[str, list[Run]]:
    """The shards of this process: every world-th of all that are left, so that no process has more than one shard more than another."""
    numbered = enumerate((split, shard) for split, shards in left.items() for shard in shards)
    mine: dict[str, list[Run]] = {split: [] for split in left}
    for number, (split, shard) in numbered:
        if number % processes.world == processes.rank:
            mine[split].append(shard)
    return mine


def _passed(
    forward: _Forward, source: Source, split: str, plan: SplitPlan, shards: Sequence[tuple[int, int]], batch: int, pace: Pace
) -> Iterator[tuple[Batch, dict[str, Tensor]]]:
    """Features of every batch of the shards by view; while the device works on one batch, the next is fetched."""
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


def _fill(
    request: Request, store: Resumable, split: str, shards: Sequence[tuple[int, int]], passed: Iterator[tuple[Batch, dict[str, Tensor]]]
) -> None:
    """Write the shards as their batches come, unless another process has failed."""
    for start, stop in shards:
        if store.stopped():
            return
        pieces: list[dict[str, Tensor]] = []
        broken: dict[int, str] = {}
        count = 0
        while count < stop - start:
            batch, features = next(passed)
            if batch.broken and not request.skip_broken:
                i, why = next(iter(batch.broken.items()))
                raise UserError(
                    f"{sample_name(request.data, split, i)}: {why}; mend or remove it, or leave such images out with --skip-broken"
                )
            broken |= batch.broken
            pieces.append(features)
            count += len(batch.images)
        joined = {view: torch.cat([piece[view] for piece in pieces]) for view in pieces[0]}
        _check_finite(request, split, start, joined)
        store.write(split, start, joined, broken)


def _check_finite(request: Request, split: str, start: int, features: dict[str, Tensor]) -> None:
    limit = torch.finfo(torch.float32 if request.dtype == "float32" else torch.float16).max
    for view, values in features.items():
        bad = ~(values.abs() <= limit).all(1)
        if bool(bad.any()):
            i = start + int(bad.nonzero()[0])
            raise UserError(
                f"{sample_name(request.data, split, i)}: its features ({view} view) are not finite or beyond {request.dtype}; wrong weights or transform?"
            )


def _source(request: Request, inputs: Inputs, processes: int) -> Source:
    if isinstance(request.data, ImageData):
        return MemorySource(request.data, request.device)
    workers = default_workers(request.device, processes) if request.workers is None else request.workers
    return FileSource(request.data, inputs.evaluation, inputs.augmentation, upright=inputs.upright, workers=workers)


def _plans(request: Request) -> dict[str, SplitPlan]:
    names = {"train": ("plain", *(f"aug{v}" for v in range(1, request.views + 1))), "val": ("plain",), "test": ("plain", "flip")}
    splits = request.data.splits
    return {
        split: SplitPlan(views, torch.from_numpy(splits[split].labels), torch.from_numpy(splits[split].rows))
        for split, views in names.items()
        if split in splits
    }


def _description(request: Request, loaded: Loaded, inputs: Inputs) -> Description:
    data = request.data
    profile = "" if data.profile == "exponential" else f" ({data.profile} profile)"
    extra = {"device": torch.cuda.get_device_name(request.device) if request.device.type == "cuda" else "cpu"}
    if isinstance(data, FileData):
        extra[LISTED] = data.split_hash
    seen = "seen" if request.val_seen_by_backbone else "unseen"
    return Description(
        name=request.name,
        dataset=DatasetInfo(
            data.spec.name, data.class_names, data.train_counts, data.split_hash, data.imbalance_factor and float(data.imbalance_factor),
            (data.selection or "given") + profile, val_seen_by_backbone=request.val_seen_by_backbone,
        ),
        backbone=BackboneInfo(request.backbone, loaded.weights_hash, loaded.network.dim, request.stage1),
        transform=inputs.words,
        dtype=request.dtype,
        origin=f"extracted by lt-bench in float32, backbone in eval mode; validation: {data.val_source}, {seen} by the backbone",
        command=request.command,
        extra=extra,
    )  # fmt: skip


def _key_fields(request: Request, description: Description) -> dict:
    views = {split: list(plan.views) for split, plan in _plans(request).items()}
    return {
        "split_hash": description.dataset.split_hash, "weights_hash": description.backbone.weights_hash, "transform": description.transform,
        "dtype": description.dtype, "views": views, "format": FORMAT_VERSION,
    }  # fmt: skip


def _present(request: Request, description: Description) -> Manifest | None:
    """The manifest of the cache that is at ``out`` already, if it is this one; with broken images left out, it is known by what was listed."""
    if not (request.out / MANIFEST_NAME).is_file():
        return None
    cache, wanted = open_cache(request.out), _key_fields(request, description)
    if request.skip_broken and cache.manifest.created_with.get(LISTED) == wanted["split_hash"]:
        wanted["split_hash"] = key_fields(cache.manifest)["split_hash"]
    if cache.key != cache_key(wanted):
        require(cache, **wanted)
    return cache.manifest
