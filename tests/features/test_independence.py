"""Weights know the images that they were trained on; test sets that meet them are refused, validation sets marked."""

import numpy as np
import pytest
import torch
from extracting import extract_from
from PIL import Image
from safetensors.torch import load_file, save_file
from small_image_files import write_cifar10, write_parquet

from lt_bench.backbones.loading import load_backbone
from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.training_rows import read_training_rows
from lt_bench.backbones.weights import save_weights
from lt_bench.bench.tuning.tune import check_validation
from lt_bench.core.errors import UserError
from lt_bench.data.hashes import pixel_hashes
from lt_bench.data.load import load_images
from lt_bench.data.readers.small_images import load_small_images
from lt_bench.features.cache import open_cache
from lt_bench.features.independence import Seen, seen_images

pytestmark = pytest.mark.usefixtures("light_resnet20")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_cifar10(tmp_path_factory.mktemp("data") / "cifar10", n_max=12, val=False).parent


@pytest.fixture(scope="module")
def weights(data_dir, tmp_path_factory):
    """As stage 1 leaves them, trained on all training images."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    train = load_small_images("cifar10_lt", data_dir, imbalance_factor=1).splits["train"]
    torch.manual_seed(0)
    save_weights(build_backbone("resnet20", 10), path, rows=pixel_hashes(train))
    return path


@pytest.fixture(scope="module")
def photos(data_dir, tmp_path_factory):
    """The same training images as PNG files, one folder a class."""
    root = tmp_path_factory.mktemp("photos")
    train = load_small_images("cifar10_lt", data_dir, imbalance_factor=1).splits["train"]
    for i, (pixels, label) in enumerate(zip(train.images, train.labels, strict=True)):
        (root / f"c{label}").mkdir(exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(root / f"c{label}" / f"{i}.png")
    return root


def test_rows_stand_in_the_weights(weights, data_dir, tmp_path):
    train = load_small_images("cifar10_lt", data_dir, imbalance_factor=1).splits["train"]
    rows = read_training_rows(weights)
    assert rows is not None
    assert rows.tolist() == sorted({*pixel_hashes(train).tolist()})
    assert len(rows) == 120
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(weights), bare)
    assert read_training_rows(bare) is None
    assert load_backbone("resnet20", bare, 10).weights_hash == load_backbone("resnet20", weights, 10).weights_hash


def test_pixels_count_whatever_the_format(data_dir, photos):
    small = load_small_images("cifar10_lt", data_dir, imbalance_factor=1).splits["train"]
    files = load_images("folder", photos).splits
    listed = np.concatenate([pixel_hashes(images) for images in files.values()])
    assert sorted(listed.tolist()) == sorted(pixel_hashes(small).tolist())


def test_a_test_set_that_was_trained_on_is_refused(weights, photos, tmp_path):
    test = len(load_images("folder", photos).splits["test"])
    message = f"w.safetensors: {test} of the {test} test images of folder are among the 120 that these weights were trained on"
    with pytest.raises(UserError, match=message) as error:
        extract_from(
            dataset="folder", data_dir=photos, backbone="resnet20", weights=weights, out=tmp_path / "c", views=0, accelerator="cpu", progress=False,
            workers=0,
        )  # fmt: skip
    assert "\n" not in str(error.value)
    assert not (tmp_path / "c" / "manifest.json").exists()


def test_validation_images_that_were_trained_on_choose_nothing(weights, data_dir, tmp_path):
    """Of a subset with fewer training images, validation is what stage 1 on all of them had seen."""
    written, again = (
        extract_from(
            dataset="cifar10_lt", data_dir=data_dir, backbone="resnet20", weights=weights, out=tmp_path / "c", imbalance_factor=4, views=0,
            accelerator="cpu", progress=False,
        ) for _ in range(2)
    )  # fmt: skip
    assert again == written  # the request does not know yet what the cache says
    cache = open_cache(tmp_path / "c")
    assert cache.manifest.dataset.val_seen_by_backbone
    assert "seen by the backbone" in cache.manifest.origin
    assert "unseen" not in cache.manifest.origin
    val = len(load_small_images("cifar10_lt", data_dir, imbalance_factor=4).splits["val"])
    assert cache.manifest.independence["seen_by_backbone"] == {"val": val, "test": 0}
    with pytest.raises(UserError, match="the backbone was trained on these validation images"):
        check_validation(cache)


def test_every_unseen_image_is_compared_with_those_of_the_weights(data_dir, tmp_path):
    """Weights of the same subset have seen none of them; those of a larger one have, and then they choose nothing."""
    asked = {
        "dataset": "cifar10_lt",
        "data_dir": data_dir,
        "backbone": "resnet20",
        "imbalance_factor": 4,
        "val_per_class": "all",
        "views": 0,
    }
    torch.manual_seed(0)
    network = build_backbone("resnet20", 10)
    seen = {}
    for factor in (4, 2):
        rows = pixel_hashes(load_small_images("cifar10_lt", data_dir, imbalance_factor=factor).splits["train"])
        save_weights(network, tmp_path / f"{factor}.safetensors", rows=rows)
        extract_from(**asked, weights=tmp_path / f"{factor}.safetensors", out=tmp_path / f"c{factor}")
        seen[factor] = open_cache(tmp_path / f"c{factor}")
    check_validation(seen[4])
    assert seen[4].manifest.independence["seen_by_backbone"] == {"val": 0, "test": 0}
    assert seen[2].manifest.independence["seen_by_backbone"]["val"] > 0
    with pytest.raises(UserError, match="the backbone was trained on these validation images"):
        check_validation(seen[2])


def test_the_training_of_the_same_split_has_seen_nothing(data_dir):
    data = load_small_images("cifar10_lt", data_dir, imbalance_factor=4)
    rows = pixel_hashes(data.splits["train"])
    assert seen_images(data, rows, "w") == Seen(len(rows), (("val", 0), ("test", 0)), False)
    assert seen_images(data, None, "w") == Seen(None, (), False)
    assert seen_images(data, rows, "w").record() == {"trained_on": f"{len(rows)} known images", "seen_by_backbone": {"val": 0, "test": 0}}


def test_duplicates_within_a_data_set_are_its_own(data_dir, tmp_path):
    folder = write_cifar10(tmp_path / "cifar10", n_max=12)
    train = load_small_images("cifar10_lt", tmp_path, imbalance_factor=1)
    pixels = train.splits["test"].images.transpose(0, 2, 3, 1).copy()
    pixels[3] = train.splits["train"].images[119].transpose(1, 2, 0)
    write_parquet(folder / "test.parquet", pixels, train.splits["test"].labels)
    rows = pixel_hashes(train.splits["train"])
    assert seen_images(load_small_images("cifar10_lt", tmp_path, imbalance_factor=1), rows, "w").images == (("val", 0), ("test", 0))
    with pytest.raises(UserError, match="1 of the 40 test images of cifar10_lt are among the 120"):  # the subset leaves that image out
        seen_images(load_small_images("cifar10_lt", tmp_path, imbalance_factor=12), rows, "w")


def test_the_manifest_says_what_is_known(photos, tmp_path):
    torch.manual_seed(1)
    save_weights(build_backbone("resnet20", 10), tmp_path / "bare.safetensors")
    extract_from(
        dataset="folder", data_dir=photos, backbone="resnet20", weights=tmp_path / "bare.safetensors", out=tmp_path / "c", views=0, accelerator="cpu",
        workers=0, group_pattern=r"(\d+)\.png",
    )  # fmt: skip
    known = open_cache(tmp_path / "c").manifest.independence
    assert known["trained_on"] == "unknown; val_seen_by_backbone is the user's word"
    assert "groups of the pattern" in known["split"]
    assert sum(known["compared"].values()) == 120
    assert set(known["near_identical_to_training"]) == {"val", "test"}
