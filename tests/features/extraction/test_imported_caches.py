"""From a checkpoint in the layout of its official code to a cache: its own classifier on the extracted features must give what the official code computes."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from layouts import LAYOUTS, K, ride

from lt_bench.backbones import imported
from lt_bench.backbones.loading import load_backbone
from lt_bench.data.images.augment import Normalise
from lt_bench.data.readers.small_images import ImageData, ImageSplit
from lt_bench.data.specs import dataset_spec
from lt_bench.features.cache import open_cache
from lt_bench.features.extraction.extract import extract
from lt_bench.features.extraction.request import Request
from lt_bench.features.extraction.self_test import self_test
from lt_bench.results.store import Store

COUNTS = (2, 1, 1, 1, 1, 1, 1)


def small_data(dataset, official):
    """Random images; three of four test labels are what the official code says of their image."""
    spec = replace(dataset_spec("cifar10_lt"), name=dataset, num_classes=K)
    generator = np.random.default_rng(0)
    train, test = (generator.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8) for n in (sum(COUNTS), 8))
    with torch.inference_mode():
        said = official(Normalise(spec.mean, spec.std)(torch.from_numpy(test))).argmax(1).numpy()
    labels = np.where(np.arange(8) % 4, said, (said + 1) % K)
    splits = {
        "train": ImageSplit(train, np.repeat(np.arange(K), COUNTS), np.arange(len(train))),
        "test": ImageSplit(test, labels, np.arange(8)),
    }
    return ImageData(spec, tuple(map(str, range(K))), COUNTS, None, "exponential", "first", "none", "0" * 16, splits)


def extracted(data, name, folder, content):
    torch.save(content, folder / "c.pth")
    request = Request(
        data=data, backbone=name, weights=folder / "c.pth", out=folder / "cache", device=torch.device("cpu"), name="imported", views=0, dtype="float32",
        progress=False,
    )  # fmt: skip
    extract(request)
    return open_cache(folder / "cache")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_self_test_gives_the_accuracy_of_the_official_code(layout, tmp_path, monkeypatch):
    name, builder, encoder, dataset = LAYOUTS[layout]
    content, official = builder()
    if encoder:
        real = imported.read_import
        small = lambda key_map, *more: real(dataclasses.replace(key_map, encoder=(encoder, *key_map.encoder)), *more)  # noqa: E731
        monkeypatch.setattr("lt_bench.backbones.loading.read_import", small)
    data = small_data(dataset, official)
    cache = extracted(data, name, tmp_path, content)
    loaded = load_backbone(name, tmp_path / "c.pth", K, dataset, COUNTS)
    assert "the imported head gives 75.00 % on the plain test view" in self_test(cache, loaded)


def test_several_experts_from_a_checkpoint_to_records(cli, tmp_path):
    """Three experts of RIDE: averaged logits as they are, and a re-trained head over all of them; and one expert alone."""
    content, official = ride()
    data = small_data("cifar100_lt", official)
    cache = extracted(data, "ride", tmp_path, content)
    assert cache.manifest.backbone.dim == 3 * 48
    where = ("--cache", str(cache.path), "--accelerator", "cpu")
    assert cli("run", "--strategy", "joint,tau_norm", *where).code == 0
    assert cli("run", "--strategy", "los", "--strategy.epochs", "2", *where).code == 0
    accuracy = {record.strategy.name: record.metrics["test"]["accuracy"] for record in Store(tmp_path / "results").records()}
    assert accuracy["joint"] == pytest.approx(0.75)
    assert set(accuracy) == {"joint", "los", "tau_norm"}
    one = load_backbone("ride@1", tmp_path / "c.pth", K, "cifar100_lt", COUNTS)
    assert one.network.dim == 48
