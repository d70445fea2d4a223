"""Made-up images for the measurements that begin with pixels: decoded ones of CIFAR's size, and JPEG files of ImageNet's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from lt_bench.data.images.image_list import FileData, identity, image_list
from lt_bench.data.readers.small_images import ImageData, ImageSplit
from lt_bench.data.specs import dataset_spec

CLASSES = 100


def decoded(train: int, test: int, size: int = 32, classes: int = CLASSES) -> ImageData:
    """``train`` and ``test`` random images of ``size`` pixels, normalised as CIFAR's."""
    generator = np.random.default_rng(0)

    def split(n: int) -> ImageSplit:
        pixels = generator.integers(0, 256, (n, 3, size, size), dtype=np.uint8)
        return ImageSplit(pixels, np.arange(n, dtype=np.int64) % classes, np.arange(n))

    splits = {"train": split(train), "test": split(test)}
    names, counts = tuple(map(str, range(classes))), tuple(np.bincount(splits["train"].labels, minlength=classes).tolist())
    spec = replace(dataset_spec("cifar100_lt"), input_size=size)
    return ImageData(spec, names, counts, 1.0, "exponential", "first", "none", f"{train}/{test}/{size}", splits)


def jpegs(folder: Path, train: int, test: int, classes: int = 4) -> FileData:
    """JPEG files of 500 x 375 pixels, smooth like photographs, normalised and augmented as ImageNet-LT's."""
    generator = np.random.default_rng(0)
    splits = {}
    for name, n in (("train", train), ("test", test)):
        paths = [f"{name}{i}.jpg" for i in range(n)]
        for path in paths:
            low = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            low.resize((500, 375), Image.Resampling.BICUBIC).save(folder / path, quality=90)
        splits[name] = image_list(folder, paths, [i % classes for i in range(n)])
    names, counts = tuple(map(str, range(classes))), tuple(np.bincount(splits["train"].labels, minlength=classes).tolist())
    return FileData(dataset_spec("imagenet_lt"), names, counts, None, "exponential", None, "none", identity(splits), splits)
