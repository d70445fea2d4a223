"""Stage 1 beside plain PyTorch loops with the same model, batch and augmentation."""

from __future__ import annotations

import gc
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.speed.measure import Contestant, Figure, Setting, Slope, race
from benchmarks.speed.pictures import CLASSES, decoded, jpegs
from lt_bench.backbones.base import Backbone
from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.transform import Transform
from lt_bench.data.images.augment import Crops, Normalise, crop, padded
from lt_bench.data.images.image_list import FileData
from lt_bench.data.images.transforms import Augmentation
from lt_bench.data.readers.small_images import ImageData
from lt_bench.data.specs import IMAGENET_MEAN, IMAGENET_STD, Statistics
from lt_bench.engine.pretrain.image_files import FileInputs, FilePretraining
from lt_bench.engine.pretrain.recipes import Stage1Recipe, stage1_recipe
from lt_bench.engine.pretrain.small_images import Pretraining
from lt_bench.engine.pretrain.stage1 import Stage1

Batches = Iterable[tuple[Tensor, Tensor]]
FILE_SIZE = 64  # pixels of the inputs made of files: small, so that on a CPU loading is a fair part of a step
FILE_BATCH = 32


def measure(setting: Setting) -> list[Figure]:
    """Seconds a step.

    Decoded images: three epochs minus one, over the steps, so that what is done once is left out. Files: the whole of four epochs, as ending a DataLoader's
    processes takes anything from none to five seconds.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning|torch.utils.data")
    gpu = setting.device == "cuda"
    backbone, n = ("resnet34", 12_800) if gpu else ("resnet10s2", 384)
    data = decoded(n, CLASSES)
    loops: dict[str, Contestant] = {
        "plain loop, crops on the device": _epochs(lambda epochs: _loop(_cropped(data, setting.device), _network(backbone, CLASSES), epochs, setting.device)),
        "plain loop, DataLoader of crops": _epochs(lambda epochs: _loop(_loaded(data), _network(backbone, CLASSES), epochs, setting.device)),
        "Pretraining": _epochs(lambda epochs: _fit(Pretraining(_network(backbone, CLASSES), data, _recipe(epochs, 64)), epochs, setting.device)),
    }  # fmt: skip
    peers = {name: "plain loop, crops on the device" for name in loops if name != "plain loop, crops on the device"}
    found = race(setting, "stage 1", f"{n:,} decoded images, {backbone}, batch 64, fp32", loops, peers)
    with tempfile.TemporaryDirectory() as folder:
        files, name = jpegs(Path(folder), 1024 if gpu else 256, 4), "torchvision.resnet18"
        loops = {
            "plain loop, DataLoader of files": lambda: _loop(_read(files), _network(name, 4), 4, setting.device),
            "FilePretraining": lambda: _fit(_on_files(files, name, 4), 4, setting.device),
        }
        size = f"{len(files.splits['train']):,} JPEG files of 500 x 375, {name} at {FILE_SIZE}, batch {FILE_BATCH}, fp32, {_workers()} decoding processes"
        return found + race(setting, "stage 1", size, loops, {"FilePretraining": "plain loop, DataLoader of files"})


def _epochs(train: Callable[[int], int]) -> Slope:
    return Slope(lambda: train(1), lambda: train(3))


def _workers() -> int:
    return 1 if (os.cpu_count() or 1) < 4 else 8


def _network(backbone: str, classes: int) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(backbone, classes)


def _recipe(epochs: int, batch: int) -> Stage1Recipe:
    recipe = stage1_recipe("los").with_epochs(epochs)
    return replace(recipe, optimisation=replace(recipe.optimisation, batch_size=batch))


def _fit(module: Stage1, epochs: int, device: str) -> int:
    trainer = Trainer(
        accelerator=device, devices=1, max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module)
    del trainer
    gc.collect()  # ends the decoding processes, whose time is then known
    return epochs * -(-module.samples // module.batch)


def _on_files(data: FileData, backbone: str, epochs: int) -> FilePretraining:
    evaluation = Transform(IMAGENET_MEAN, IMAGENET_STD, resize=round(FILE_SIZE * 8 / 7), crop=FILE_SIZE)
    inputs = FileInputs(evaluation, Augmentation(FILE_SIZE, data.spec.jitter), upright=False, workers=_workers())
    return FilePretraining(_network(backbone, 4), data, inputs, _recipe(epochs, FILE_BATCH))


def _loop(batches: Callable[[], Batches], network: Backbone, epochs: int, device: str) -> int:
    """Train with a loop as a careful engineer writes it: channels-last, fused SGD, gradients set to None."""
    network.to(device).to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
    o = stage1_recipe("los").optimisation
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, o.epochs)
    steps = 0
    for _ in range(epochs):
        for images, labels in batches():
            inputs = images.to(device, non_blocking=True, memory_format=torch.channels_last)
            loss = F.cross_entropy(network(inputs), labels.to(device, non_blocking=True))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            steps += 1
        schedule.step()
    del batches
    gc.collect()
    return steps


def _cropped(data: ImageData, device: str) -> Callable[[], Batches]:
    """All images on the device, augmented batch by batch with the suite's own crops: the strictest peer."""
    train = data.splits["train"]
    store, labels = padded(train.images).to(device), torch.from_numpy(train.labels).to(device)
    normalise = Normalise(data.spec.mean, data.spec.std).to(device)

    def epoch() -> Batches:
        for index in torch.randperm(len(labels)).split(64):
            draws = Crops.random(len(index), np.random.default_rng(0)).to(torch.device(device))
            where = index.to(device)
            yield normalise(crop(store, where, draws)), labels[where]

    return epoch


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images and a transform, as in a tutorial."""

    def __init__(self, images: Callable[[int], Image.Image], labels: Any, transform: Callable[[Image.Image], Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(self.images(i)), int(self.labels[i])


def _transform(crop: v2.Transform, mean: Statistics, std: Statistics, jitter: float = 0) -> v2.Compose:
    colours = [v2.ColorJitter(jitter, jitter, jitter)] if jitter else []
    steps = [
        crop,
        v2.RandomHorizontalFlip(),
        *colours,
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(mean), list(std)),
    ]
    return v2.Compose(steps)


def _loaded(data: ImageData) -> Callable[[], Batches]:
    """The usual way with CIFAR: one image at a time through torchvision's transforms, in decoding processes."""
    train = data.splits["train"]
    pictures = [Image.fromarray(one.transpose(1, 2, 0)) for one in train.images]
    transform = _transform(v2.RandomCrop(32, padding=4), data.spec.mean, data.spec.std)
    loader = DataLoader(
        Pictures(pictures.__getitem__, train.labels, transform), 64, shuffle=True, num_workers=_workers(), persistent_workers=True, pin_memory=torch.cuda.is_available()
    )  # fmt: skip
    return lambda: loader


def _read(data: FileData) -> Callable[[], Batches]:
    """The usual way with files."""
    train = data.splits["train"]
    transform = _transform(v2.RandomResizedCrop(FILE_SIZE), data.spec.mean, data.spec.std, data.spec.jitter)
    loader = DataLoader(
        Pictures(lambda i: Image.open(train.root / train.paths[i]).convert("RGB"), train.labels, transform), FILE_BATCH, shuffle=True,
        num_workers=_workers(), persistent_workers=True, pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    return lambda: loader
