"""Cost of extraction: its throughput beside the bare backbone's on the same decoded batches, and the decoding rate of one core."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from benchmarks.speed.measure import Contestant, Figure, Setting, Slope, race
from benchmarks.speed.pictures import CLASSES, decoded, jpegs
from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.transform import Transform
from lt_bench.backbones.weights import save_weights
from lt_bench.data.images.augment import Normalise
from lt_bench.data.images.transforms import Augmentation
from lt_bench.data.images.views import ImageViews, chunks
from lt_bench.data.readers.small_images import ImageData
from lt_bench.data.specs import IMAGENET_MEAN, IMAGENET_STD
from lt_bench.features.extraction.extract import extract
from lt_bench.features.extraction.request import Request

BATCH = 250


def measure(setting: Setting) -> list[Figure]:
    """Seconds an image; the target is at most 1 / 0.95 of the bare forward."""
    found = []
    problems = [("resnet10s2", 6000)] if setting.device == "cpu" else [("resnet34", 50_000)]
    with tempfile.TemporaryDirectory() as folder:
        for backbone, n in problems:
            found += _decoded_in_advance(setting, backbone, n, Path(folder))
        found += _decoding(setting, Path(folder))
    return found


def _decoded_in_advance(setting: Setting, backbone: str, n: int, folder: Path) -> list[Figure]:
    """An extraction (reading the weights, crops, forward, checks, shards on disk, checksums) and the bare forward of as many images.

    Once the whole of it, and once what each further image costs: its throughput, without what is paid once.
    """
    device, data = torch.device(setting.device), decoded(n, CLASSES)
    network = build_backbone(backbone, CLASSES).eval().to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    save_weights(network, folder / "w.safetensors")
    normalise = Normalise(data.spec.mean, data.spec.std).to(device)
    pixels = torch.from_numpy(data.splits["train"].images).to(device)
    inputs = [normalise(part).contiguous(memory_format=torch.channels_last) for part in pixels.split(BATCH)]

    def bare() -> int:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            torch.cat([network.features(part) for part in inputs]).cpu()
        return n

    whole, part = (
        _extraction(data, backbone, folder / "whole", device),
        _extraction(decoded(n // 6, CLASSES), backbone, folder / "part", device),
    )
    names = ("extraction, the whole of it", "extraction, each further image")
    return race(
        setting, "extraction", f"{n:,} decoded images, {backbone}, batch {BATCH}",
        {"bare forward": bare, names[0]: whole, names[1]: Slope(part, whole)}, dict.fromkeys(names, "bare forward"),
    )  # fmt: skip


def _extraction(data: ImageData, backbone: str, folder: Path, device: torch.device) -> Contestant:
    count = iter(range(1_000_000))

    def whole() -> int:
        request = Request(
            data=data, backbone=backbone, weights=folder.parent / "w.safetensors", out=folder / f"cache{next(count)}", device=device, name="speed", views=0,
            batch_size=BATCH, progress=False,
        )  # fmt: skip
        extract(request)
        return len(data.splits["train"]) + 2 * len(data.splits["test"])

    return whole


def _decoding(setting: Setting, folder: Path) -> list[Figure]:
    """Seconds an image that one core takes from a JPEG file of 500 x 375 pixels to its views of 224."""
    images = jpegs(folder, 16 if setting.quick else 48, 4).splits["train"]
    evaluation = Transform(IMAGENET_MEAN, IMAGENET_STD, resize=256, crop=224)

    def decodes(views: int, jitter: float) -> Contestant:
        names = ["plain", *(f"aug{v}" for v in range(1, views + 1))]
        dataset = ImageViews(images, names, evaluation.pixels, Augmentation(224, jitter), upright=False)

        def run() -> int:
            for _ in chunks(dataset, [(0, len(images))], workers=0):
                pass
            return len(images)

        return run

    contestants = {
        "plain view": decodes(0, 0),
        "and 8 augmented ones": decodes(8, 0),
        "and 8 augmented ones with colour jitter": decodes(8, 0.4),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return race(setting, "decoding", "JPEG 500 x 375, one core", contestants, {})
    finally:
        torch.set_num_threads(threads)
