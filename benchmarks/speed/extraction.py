"""What extraction costs: its throughput beside the bare backbone's on the same batches, and the decoding rate of one core.

python benchmarks/speed/extraction.py --backbone resnet10s2 --size 32 --images 2000
python benchmarks/speed/extraction.py --backbone torchvision.resnet18 --size 224 --images 64
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.transform import Transform
from lt_bench.backbones.weights import save_weights
from lt_bench.data.augment import Normalise
from lt_bench.data.image_list import image_list
from lt_bench.data.image_views import ImageViews, chunks
from lt_bench.data.small_images import ImageData, ImageSplit
from lt_bench.data.specs import IMAGENET_MEAN, IMAGENET_STD, dataset_spec
from lt_bench.data.transforms import Augmentation
from lt_bench.runs.extract import Request, extract_images, pick_device


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet10s2")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=125)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--accelerator", default="auto")
    given = parser.parse_args()
    device = pick_device(given.accelerator)
    with tempfile.TemporaryDirectory() as folder:
        decoded_in_advance(given, device, Path(folder))
        decoding(Path(folder))


def decoded_in_advance(given: argparse.Namespace, device: torch.device, folder: Path) -> None:
    """The whole of an extraction of decoded images (crops, forward, checks, shards, checksums) against the bare forward, alternating."""
    generator = np.random.default_rng(0)
    n = given.images
    labels = np.arange(n, dtype=np.int64) % 10
    images = ImageSplit(generator.integers(0, 256, (n, 3, given.size, given.size), dtype=np.uint8), labels, np.arange(n))
    few = ImageSplit(images.images[:10], labels[:10], np.arange(10))
    spec = replace(dataset_spec("cifar10_lt"), input_size=given.size)
    names = tuple(map(str, range(10)))
    data = ImageData(
        spec, names, tuple(np.bincount(labels).tolist()), 1.0, "exponential", "first", "none", "0" * 16, {"train": images, "test": few}
    )
    network = build_backbone(given.backbone, 10).eval().to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    save_weights(network, folder / "w.safetensors")
    normalise = Normalise(spec.mean, spec.std).to(device)
    pixels = torch.from_numpy(images.images).to(device)
    inputs = [normalise(part).contiguous(memory_format=torch.channels_last) for part in pixels.split(given.batch_size)]
    bare, whole = [], []
    for repetition in range(given.repetitions + 1):
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            begun = time.perf_counter()
            torch.cat([network.features(part) for part in inputs]).cpu()
            seconds = time.perf_counter() - begun
        request = Request(
            data=data, backbone=given.backbone, weights=folder / "w.safetensors", out=folder / f"cache{repetition}", device=device, name="speed", views=0,
            batch_size=given.batch_size, progress=False,
        )  # fmt: skip
        begun = time.perf_counter()
        extract_images(request)
        if repetition:  # the first warms up
            bare.append(n / seconds)
            whole.append((n + 20) / (time.perf_counter() - begun))
    one, other = np.median(bare), np.median(whole)
    print(f"{given.backbone}, {given.size} pixels, batches of {given.batch_size}, {device}: bare forward {one:.0f} images a second, "
          f"extraction {other:.0f} ({other / one:.1%}), medians of {given.repetitions}")  # fmt: skip


def decoding(folder: Path) -> None:
    """Images and views a second that one core decodes and transforms, from 500 x 375 JPEG files to 224 pixels."""
    generator = np.random.default_rng(0)
    paths = [f"{i}.jpg" for i in range(48)]
    for path in paths:
        low = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        low.resize((500, 375), Image.Resampling.BICUBIC).save(folder / path, quality=90)
    images = image_list(folder, paths, [0] * len(paths))
    evaluation = Transform(IMAGENET_MEAN, IMAGENET_STD, resize=256, crop=224)
    for jitter in (0, 0.4):
        for views in (["plain"], ["plain", *(f"aug{v}" for v in range(1, 9))]):
            dataset = ImageViews(images, views, evaluation.pixels, Augmentation(224, jitter), upright=False)
            begun = time.perf_counter()
            for _ in chunks(dataset, [(0, len(images))], workers=0):
                pass
            rate = len(images) / (time.perf_counter() - begun)
            print(
                f"decoding, one core, {len(views)} views, colour jitter {jitter}: {rate:.0f} images, {rate * len(views):.0f} views a second"
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
