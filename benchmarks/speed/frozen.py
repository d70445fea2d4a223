"""The same epochs of a head on a frozen backbone: the backbone run again on every batch, as official code does, and features extracted once."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.speed.measure import Contestant, Figure, Setting, race
from benchmarks.speed.pictures import CLASSES, decoded
from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.data.images.augment import Crops, Normalise, crop, padded
from lt_bench.data.readers.small_images import ImageData
from lt_bench.engine.heads.fit import Hardware, facts_of, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.features.cache import FeatureCache, open_cache
from lt_bench.features.extraction.extract import extract
from lt_bench.features.extraction.request import Request
from lt_bench.strategies.registry import find

EPOCHS, VIEWS, BATCH = 20, 8, 64
"""Settings of the official LOS code; the views are the default of ``lt-bench extract``."""


def measure(setting: Setting) -> list[Figure]:
    """Seconds for all epochs of ``los``; every further strategy or seed pays the official way again, and of ours the last line alone."""
    gpu = setting.device == "cuda"
    backbone, n = ("resnet34", 10_847) if gpu else ("resnet10s2", 320 if setting.quick else 640)
    data = decoded(n, CLASSES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_weights(build_backbone(backbone, CLASSES), folder / "w.safetensors")
        cache = _extract(data, backbone, folder, setting.device)
        contestants: dict[str, Contestant] = {
            "official: the backbone on every batch": lambda: _official(data, backbone, setting.device),
            "ours: extraction and head": lambda: _head(_extract(data, backbone, folder, setting.device), setting.device),
            "ours: head on the cache": lambda: _head(cache, setting.device),
        }
        peers = {name: "official: the backbone on every batch" for name in contestants if name.startswith("ours")}
        size = f"{n:,} decoded images, {backbone}, los, {EPOCHS} epochs, batch {BATCH}, {VIEWS} views and the plain one"
        return race(setting, "frozen backbone", size, contestants, peers)


def _official(data: ImageData, backbone: str, device: str) -> int:
    """A plain PyTorch loop: every epoch new crops, forward through the frozen backbone in eval mode, one step of the head a batch."""
    train = data.splits["train"]
    network = build_backbone(backbone, CLASSES).eval().to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    store, labels = padded(train.images).to(device), torch.from_numpy(train.labels).to(device)
    normalise, generator = Normalise(data.spec.mean, data.spec.std).to(device), np.random.default_rng(0)
    optimizer = torch.optim.SGD(network.fc.parameters(), lr=5e-4, momentum=0.9)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(labels)).split(BATCH):
            where = index.to(device)
            with torch.no_grad():
                features = network.features(normalise(crop(store, where, Crops.random(len(index), generator).to(where.device))))
            loss = F.cross_entropy(network.fc(features), labels[where], label_smoothing=0.98)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return 1


def _extract(data: ImageData, backbone: str, folder: Path, device: str) -> FeatureCache:
    shutil.rmtree(folder / "cache", ignore_errors=True)
    request = Request(
        data=data, backbone=backbone, weights=folder / "w.safetensors", out=folder / "cache", device=torch.device(device), name="speed", views=VIEWS,
        progress=False,
    )  # fmt: skip
    extract(request)
    return open_cache(folder / "cache")


def _head(cache: FeatureCache, device: str) -> int:
    entry = find("los")
    job = HeadJob(entry, entry.resolve("cifar100_lt", None, {"epochs": EPOCHS, "batch_size": BATCH}), 0)
    fit_heads([[job]], facts_of(cache), cache.split("train", device=device), Hardware("gpu" if device == "cuda" else "cpu"))
    return 1
