"""`lt-bench extract`: images through a frozen backbone to a feature cache."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.registry import backbone_spec, build_backbone
from lt_bench.backbones.weights import load_weights, read_state, weights_hash
from lt_bench.data.augment import Draws, Normalise, crop, padded
from lt_bench.data.profiles import Profile
from lt_bench.data.small_images import ImageData, load_small_images
from lt_bench.data.splits import Selection
from lt_bench.errors import UserError
from lt_bench.features.cache import open_cache, require
from lt_bench.features.manifest import FORMAT_VERSION, MANIFEST_NAME, BackboneInfo, DatasetInfo, Manifest, cache_key
from lt_bench.features.seeds import derive_seed
from lt_bench.features.write import Description, write_cache


def extract(
    *,
    dataset: str,
    data_dir: Path,
    backbone: str,
    weights: Path,
    out: Path,
    imbalance_factor: float | None = None,
    profile: Profile = "exponential",
    selection: Selection = "first",
    image_column: str | None = None,
    label_column: str | None = None,
    views: int = 8,
    dtype: str = "float16",
    batch_size: int = 250,
    accelerator: str = "auto",
    name: str | None = None,
    stage1: str = "",
    command: str = "",
    progress: bool = True,
) -> Manifest:
    """Write the feature cache of a data set under a backbone; return at once where it is there already.

    The backbone is in eval mode, in float32. Train: the plain view and ``views`` augmented ones, each seeded by its number; val: plain; test: plain and flipped.

    Args:
        dataset: name of the data set.
        data_dir: where its images are.
        backbone: name of the network.
        weights: its weights with the stage-1 classifier.
        out: directory of the cache.
        imbalance_factor: IF of the training subset, by default the data set's.
        profile: exponential or step.
        selection: which rows of a class are kept.
        image_column: column of encoded images in parquet files.
        label_column: column of labels.
        views: augmented views of each training image.
        dtype: float16, float32 or affine8.
        batch_size: images a forward.
        accelerator: auto, cpu or gpu.
        name: of the cache, by default that of ``out``.
        stage1: how the backbone was trained, in words.
        command: how to make the cache again.
        progress: whether to say how far it is.

    Raises:
        UserError: data or weights are missing or do not fit, or ``out`` holds another cache.
    """
    data = load_small_images(
        dataset, data_dir, imbalance_factor=imbalance_factor, profile=profile, selection=selection, image_column=image_column, label_column=label_column
    )  # fmt: skip
    request = Request(
        data=data, backbone=backbone, weights=weights, out=out, views=views, dtype=dtype, batch_size=batch_size, device=pick_device(accelerator),
        name=name or out.name, stage1=stage1, command=command, progress=progress,
    )  # fmt: skip
    return extract_images(request)


@dataclass(frozen=True)
class Request:
    """What ``extract_images`` needs, with the images already loaded; the fields are the arguments of ``extract``."""

    data: ImageData
    backbone: str
    weights: Path
    out: Path
    device: torch.device
    name: str
    views: int = 8
    dtype: str = "float16"
    batch_size: int = 250
    stage1: str = ""
    command: str = ""
    progress: bool = True
    console: Console = field(default_factory=lambda: Console(stderr=True))


def extract_images(request: Request) -> Manifest:
    """Extract from loaded images; see ``extract``."""
    if request.views < 0:
        raise UserError(f"views is {request.views}, expected 0 or more")
    state = read_state(request.weights)
    description = _description(request, weights_hash(state))
    present = _present(request, description)
    if present is not None:
        return present
    network = build_backbone(request.backbone, len(request.data.train_counts))
    load_weights(network, state, str(request.weights))
    network.eval().to(memory_format=torch.channels_last).to(request.device)
    arrays: dict[str, Tensor] = {"head/weight": network.fc.weight.detach().cpu(), "head/bias": network.fc.bias.detach().cpu()}
    started, done = time.perf_counter(), 0
    total = sum(len(request.data.splits[split]) * len(names) for split, names in _views(request).items())
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        for split, names in _views(request).items():
            images = request.data.splits[split]
            store = padded(images.images).to(request.device)
            arrays[f"{split}/labels"], arrays[f"{split}/rows"] = torch.from_numpy(images.labels), torch.from_numpy(images.rows)
            for view in names:
                arrays[f"{split}/features/{view}"] = torch.cat(list(_features(network, request, store, view_draws(view, len(images)))))
                done += len(images)
                if request.progress and (view == names[-1] or request.console.is_terminal):
                    rate = done / (time.perf_counter() - started)
                    request.console.print(f"{request.name}: {split} {view}, {done}/{total} images, {rate:.0f} a second", highlight=False)
    request.out.parent.mkdir(parents=True, exist_ok=True)
    return write_cache(request.out, description, arrays)


def view_draws(view: str, n: int) -> Draws:
    """The augmentation of a view: nothing for ``plain``, the mirror image for ``flip``, seeded crops and flips for ``aug<v>``."""
    if view in ("plain", "flip"):
        return Draws.plain(n, flip=view == "flip")
    return Draws.random(n, np.random.default_rng(derive_seed("view", view)))


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


def _features(network: Backbone, request: Request, store: Tensor, draws: Draws) -> Iterator[Tensor]:
    normalise = Normalise(request.data.spec.mean, request.data.spec.std).to(request.device)
    on_device = draws.to(request.device)
    with torch.inference_mode():
        for index in torch.arange(store.shape[0], device=request.device).split(request.batch_size):
            yield network.features(normalise(crop(store, index, on_device[index]))).float().cpu()


def _views(request: Request) -> dict[str, tuple[str, ...]]:
    names = {"train": ("plain", *(f"aug{v}" for v in range(1, request.views + 1))), "val": ("plain",), "test": ("plain", "flip")}
    return {split: views for split, views in names.items() if split in request.data.splits}


def _description(request: Request, digest: str) -> Description:
    data = request.data
    profile = "" if data.profile == "exponential" else f" ({data.profile} profile)"
    statistics = f"mean {' '.join(map(str, data.spec.mean))}, std {' '.join(map(str, data.spec.std))}"
    return Description(
        name=request.name,
        dataset=DatasetInfo(
            data.spec.name, data.class_names, data.train_counts, data.split_hash, float(data.imbalance_factor), data.selection + profile, val_seen_by_backbone=False
        ),
        backbone=BackboneInfo(request.backbone, digest, backbone_spec(request.backbone).dim, request.stage1),
        transform={"evaluation": f"{data.spec.evaluation}; {statistics}", "augmentation": data.spec.augmentation},
        dtype=request.dtype,
        origin=f"extracted by lt-bench in float32, backbone in eval mode; validation: {data.val_source}, unseen by the backbone",
        command=request.command,
        extra={"device": torch.cuda.get_device_name(request.device) if request.device.type == "cuda" else "cpu"},
    )  # fmt: skip


def _present(request: Request, description: Description) -> Manifest | None:
    if not (request.out / MANIFEST_NAME).is_file():
        return None
    cache = open_cache(request.out)
    views: dict[str, Sequence[str]] = {split: list(names) for split, names in _views(request).items()}
    wanted = {
        "split_hash": description.dataset.split_hash, "weights_hash": description.backbone.weights_hash, "transform": description.transform,
        "dtype": description.dtype, "views": views, "format": FORMAT_VERSION,
    }  # fmt: skip
    if cache.key != cache_key(wanted):
        require(cache, **wanted)
    return cache.manifest
