"""Extraction from image files: against features made by hand, killed and resumed, two at once, broken images."""

import csv
import multiprocessing
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from extracting import extract_from
from photos import write_photos
from PIL import Image
from torchvision.transforms import v2

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.bench.options import CacheOptions
from lt_bench.bench.sources.find_cache import resolve_cache
from lt_bench.core.errors import UserError
from lt_bench.data.load import load_images
from lt_bench.features.cache import open_cache
from lt_bench.features.extraction import extract as module
from lt_bench.features.extraction.pace import Pace, Spent, summary
from lt_bench.features.resumable import Resumable

pytestmark = pytest.mark.usefixtures("light_resnet20")

COUNTS = {"chat noir": 12, "собака": 6, "z": 3}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "mine", COUNTS, suffix=".JPG", size=(50, 40))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_backbone("resnet20", 3).eval()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(network, path)
    return path


@pytest.fixture
def request_(photos, weights):
    return {
        "dataset": "folder", "data_dir": photos, "backbone": "resnet20", "weights": weights, "views": 2, "accelerator": "cpu", "progress": False,
        "dtype": "float32", "workers": 0, "batch_size": 9,
    }  # fmt: skip


def test_plain_features_are_those_of_the_network(request_, photos, network, tmp_path):
    manifest = extract_from(**request_, out=tmp_path / "cache")
    assert manifest.transform["evaluation"] == "resize 37, centre crop 32; mean 0.485 0.456 0.406, std 0.229 0.224 0.225"
    assert manifest.transform["augmentation"] == "random resized crop to 32, horizontal flip"
    assert manifest.dataset.class_names == tuple(sorted(COUNTS))
    assert not manifest.dataset.val_seen_by_backbone
    assert "with seed 0, unseen" in manifest.origin
    by_hand = v2.Compose([
        v2.Resize(37), v2.CenterCrop(32), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    ])  # fmt: skip
    cache, data = open_cache(tmp_path / "cache"), load_images("folder", photos)
    cache.verify()
    for name, images in data.splits.items():
        stored = cache.split(name)
        assert stored.labels.tolist() == images.labels.tolist()
        assert stored.rows.tolist() == images.rows.tolist()
        with torch.inference_mode():
            inputs = torch.stack([by_hand(images.image(i)) for i in range(len(images))])
            expected = {"plain": network.features(inputs), "flip": network.features(inputs.flip(-1))}
        for view in ("plain", *(("flip",) if name == "test" else ())):
            assert torch.allclose(stored.view(view), expected[view], atol=1e-4)
    assert torch.equal(cache.head().weight, network.fc.weight)
    rows = list(csv.DictReader((tmp_path / "cache" / "images.csv").open(encoding="utf-8")))
    assert [row["path"] for row in rows if row["split"] == "train"] == list(data.splits["train"].paths)


def test_neither_batches_nor_processes_nor_views_change_the_augmentation(request_, tmp_path):
    extract_from(**request_, out=tmp_path / "a")
    extract_from(**request_ | {"batch_size": 30, "workers": 2, "views": 3}, out=tmp_path / "b")
    first, second = (open_cache(tmp_path / name).split("train") for name in "ab")
    for view in ("plain", "aug1", "aug2"):
        assert torch.allclose(first.view(view), second.view(view), atol=1e-4)
    assert not torch.allclose(second.view("aug1"), second.view("aug3"), atol=1e-2)


def test_a_second_call_returns_at_once(request_, tmp_path, monkeypatch):
    manifest = extract_from(**request_, out=tmp_path / "cache")
    monkeypatch.setattr("lt_bench.features.extraction.extract._extract_missing", lambda *_: pytest.fail("extracted again"))
    assert extract_from(**request_, out=tmp_path / "cache") == manifest
    with pytest.raises(UserError, match="cache: split_hash is"):
        extract_from(**request_ | {"split_seed": 7}, out=tmp_path / "cache")


def test_a_truncated_image_is_named_or_left_out(request_, photos, tmp_path):
    copy = write_photos(tmp_path / "mine", COUNTS, suffix=".JPG", size=(50, 40))
    data = load_images("folder", copy)
    broken = data.splits["train"].paths[5]
    whole = (copy / broken).read_bytes()
    (copy / broken).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=f"{broken}: cannot be decoded: .*--skip-broken"):
        extract_from(**request_ | {"data_dir": copy}, out=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    manifest = extract_from(**request_ | {"data_dir": copy, "skip_broken": True}, out=tmp_path / "cache")
    extract_from(**request_, out=tmp_path / "whole")
    less, more = (open_cache(tmp_path / name).split("train") for name in ("cache", "whole"))
    kept = np.delete(np.arange(len(more)), 5)
    assert torch.equal(less.rows, more.rows[kept])
    assert torch.equal(less.view("aug2"), more.view("aug2")[kept])
    assert sum(manifest.dataset.train_counts) == len(data.splits["train"]) - 1
    assert manifest.dataset.split_hash != data.split_hash
    assert broken in manifest.created_with["skipped"]
    assert extract_from(**request_ | {"data_dir": copy, "skip_broken": True}, out=tmp_path / "cache") == manifest


def test_broken_images_are_refused_before_the_backbone_runs(request_, tmp_path, monkeypatch):
    copy = write_photos(tmp_path / "mine", {"train/a": 12, "train/b": 2, "val/a": 2, "test/a": 3}, suffix=".jpg", size=(50, 40))
    monkeypatch.setattr(module, "_for_inference", lambda *_: pytest.fail("the backbone was made ready"))
    for name in ("test/a/1.jpg", "train/b/0.jpg", "train/b/1.jpg", "train/a/9.jpg"):
        (copy / name).write_bytes((copy / name).read_bytes()[:-300])
    with pytest.raises(UserError, match=r"4 images cannot be decoded: .*train/a/9\.jpg: .*; \.\.\.; mend them, or .*--skip-broken"):
        extract_from(**request_ | {"data_dir": copy}, out=tmp_path / "cache")
    with pytest.raises(UserError, match="class 'b' has no training image that can be decoded"):
        extract_from(**request_ | {"data_dir": copy, "skip_broken": True}, out=tmp_path / "cache")
    for i in range(3):
        (copy / f"test/a/{i}.jpg").write_text(f"torn {i}")
    with pytest.raises(UserError, match="no image of test can be decoded"):
        extract_from(**request_ | {"data_dir": copy, "skip_broken": True}, out=tmp_path / "cache")


def test_weights_of_other_classes_give_no_head(request_, tmp_path):
    torch.manual_seed(1)
    save_weights(build_backbone("resnet20", 10), tmp_path / "ten.safetensors")
    extract_from(**request_ | {"weights": tmp_path / "ten.safetensors"}, out=tmp_path / "cache")
    assert open_cache(tmp_path / "cache").head() is None


@pytest.mark.parametrize("dtype", ["float16", "affine8"])
def test_smaller_storage(request_, tmp_path, dtype):
    extract_from(**request_, out=tmp_path / "exact")
    extract_from(**request_ | {"dtype": dtype}, out=tmp_path / "small")
    exact, small = (open_cache(tmp_path / name).split("test").view("flip").float() for name in ("exact", "small"))
    assert torch.allclose(small, exact, atol=float(exact.max()) / 200)


def test_features_that_are_not_finite_are_named(request_, network, photos, tmp_path):
    state = {name: tensor * float("nan") if name == "conv1.weight" else tensor for name, tensor in network.state_dict().items()}
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(UserError, match=r"chat noir/.*: its features \(plain view\) are not finite"):
        extract_from(**request_ | {"weights": tmp_path / "nan.pt"}, out=tmp_path / "cache")


def child(photos, weights, out, pause, log):
    """An extraction that writes a line for every shard and then pauses."""
    torch.set_num_threads(1)  # a forked process has no OpenMP threads
    module.SHARD_VIEWS, write = 6, Resumable.write

    def slow(self, *arguments):
        write(self, *arguments)
        with log.open("a") as file:
            file.write("shard\n")
        time.sleep(pause)

    Resumable.write = slow
    extract_from(
        dataset="folder",
        data_dir=photos,
        backbone="resnet20",
        weights=weights,
        out=out,
        views=2,
        workers=0,
        batch_size=9,
        accelerator="cpu",
        progress=False,
    )


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix == ".safetensors"}


def test_killed_and_resumed_and_two_at_once(photos, weights, tmp_path):
    def start(name, out, pause):
        process = multiprocessing.get_context("fork").Process(
            target=child, args=(photos, weights, tmp_path / out, pause, tmp_path / f"{name}.log")
        )
        process.start()
        return process

    def shards(name):
        return len((tmp_path / f"{name}.log").read_text().split()) if (tmp_path / f"{name}.log").exists() else 0

    pair = [start(name, "b", 0.02) for name in ("first", "second")]
    killed = start("killed", "a", 60)
    while not shards("killed"):
        assert killed.is_alive()
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    assert not (tmp_path / "a").exists()
    resumed = start("resumed", "a", 0)
    for process in (resumed, *pair):
        process.join()
        assert process.exitcode == 0
    # Of the two at once one waited and then found the cache; the resumed one wrote all shards but the first.
    assert sorted([shards("first"), shards("second")]) == [0, shards("resumed") + 1]
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert open_cache(tmp_path / "a").manifest.audit == open_cache(tmp_path / "b").manifest.audit
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".log"} == {"a", "b"}


def test_pace_says_what_limits():
    def slow():
        for _ in range(3):
            time.sleep(0.01)
            yield 1

    pace = Pace("x", {"train": 3}, None)
    for one in pace.timed(slow()):
        pace.advance("train", one)
    assert "decoding limits" in summary("x", [pace.spent()], decodes=True)
    pace.waited = 0
    assert "the backbone limits" in summary("x", [pace.spent()], decodes=True)
    assert "limits" not in summary("x", [pace.spent()], decodes=False)
    assert summary("x", [Spent(30, 2.0, 0.1), Spent(10, 1.0, 0.8)], decodes=True) == (
        "x: 40 views in 2.0 s on 2 processes, 20 a second; the backbone limits (30% of the time waiting for images)"
    )


def test_the_cache_of_a_folder_is_found_by_its_images(photos, weights, tmp_path, monkeypatch):
    """Another folder of the same name is another data set, and its cache is not taken for this one's."""
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    other = write_photos(tmp_path / "mine", {"a": 4, "b": 4, "c": 2})
    options = [CacheOptions(dataset="folder", data_dir=folder, backbone="resnet20", weights=weights) for folder in (photos, other)]
    first, second = (resolve_cache(one) for one in options)
    assert first.manifest.dataset.class_names == tuple(sorted(COUNTS))
    assert second.manifest.dataset.class_names == ("a", "b", "c")
    assert resolve_cache(options[0]).path == first.path
    assert first.path.name.startswith("folder-mine-")
    assert {path for path in (tmp_path / "home" / "caches").iterdir() if not path.name.startswith(".")} == {first.path, second.path}


def test_a_folder_that_was_added_to_is_extracted_beside_its_former_self(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    folder = write_photos(tmp_path / "mine", {"a": 4, "b": 4, "c": 2})
    options = CacheOptions(dataset="folder", data_dir=folder, backbone="resnet20", weights=weights)
    before = resolve_cache(options)
    Image.new("RGB", (40, 40), (3, 200, 9)).save(folder / "b" / "new.png")
    after = resolve_cache(options)
    assert sum(after.manifest.dataset.train_counts) + len(after.split("test")) > sum(before.manifest.dataset.train_counts) + len(
        before.split("test")
    )
    assert after.path.name == f"{before.path.name}-{after.manifest.dataset.split_hash[:6]}"
    assert resolve_cache(options).path == after.path
    (folder / "b" / "new.png").unlink()
    assert resolve_cache(options).path == before.path
    (folder / "b" / "torn.png").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"b/torn\.png: .*--skip-broken"):
        resolve_cache(options)


def test_run_leaves_broken_images_out_where_asked(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    folder = write_photos(tmp_path / "mine", {"a": 4, "b": 4, "c": 2})
    (folder / "a" / "3.png").write_bytes(b"torn")
    options = CacheOptions(dataset="folder", data_dir=folder, backbone="resnet20", weights=weights)
    with pytest.raises(UserError, match=r"a/3\.png: .*--skip-broken"):
        resolve_cache(options)
    found = resolve_cache(replace(options, skip_broken=True))
    assert "a/3.png" not in (found.path / "images.csv").read_text()
    assert resolve_cache(CacheOptions(cache=str(found.path), data_dir=folder)).key == found.key  # known by what was listed
