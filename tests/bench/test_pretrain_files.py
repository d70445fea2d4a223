"""Stage 1 on image files: a tiny folder of JPEGs, resumed, with W&B, on two nodes."""

import os
import shutil
import socket
import subprocess

import numpy as np
import pytest
import torch
from photos import write_photos
from stage1_runs import log_of, power_cut, script, stage1
from torch.nn import functional as F

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.training_rows import read_training_rows
from lt_bench.backbones.transform import Transform
from lt_bench.backbones.weights import save_weights
from lt_bench.bench import pretrain as module
from lt_bench.core.errors import UserError
from lt_bench.core.processes import Processes
from lt_bench.core.seeds import derive_seed
from lt_bench.data.hashes import pixel_hashes
from lt_bench.data.images.augmented import AugmentedBatches, AugmentedImages
from lt_bench.data.images.transforms import Augmentation
from lt_bench.data.load import load_images
from lt_bench.engine.pretrain.image_files import Epoch, FileInputs, FilePretraining
from lt_bench.engine.pretrain.recipes import stage1_recipe
from lt_bench.engine.pretrain.stage1 import epoch_order
from lt_bench.features.cache import open_cache

pytestmark = pytest.mark.usefixtures("light_resnet20")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "mine", {"a": 24, "b": 12, "c": 6}, suffix=".jpg", size=(40, 36))


def options(photos, out, **changes):
    settings = {
        "dataset": "folder", "data_dir": photos, "out": out, "backbone": "resnet20", "recipe": "los", "epochs": 3, "views": 1, "checkpoint_every": 1,
        "validate_every": 2, "accelerator": "cpu", "workers": 0, "progress": False,
    }  # fmt: skip
    return settings | changes


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    return stage1(**options(photos, tmp_path_factory.mktemp("runs") / "whole"))


def test_it_leaves_weights_log_and_cache(whole):
    rows = log_of(whole.log)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [bool(row["val_accuracy"]) for row in rows] == [False, True, True]
    assert whole.manifest.views == {"train": ("plain", "aug1"), "val": ("plain",), "test": ("plain",)}
    assert whole.manifest.transform["augmentation"] == "random resized crop to 32"
    assert not whole.manifest.dataset.val_seen_by_backbone
    assert open_cache(whole.cache).head() is not None


def test_a_broken_off_run_ends_the_same(photos, whole, tmp_path, monkeypatch):
    with power_cut(monkeypatch, epoch=2):
        stage1(**options(photos, tmp_path / "run"))
    resumed = stage1(**options(photos, tmp_path / "run", workers=1))
    assert resumed.manifest.arrays == whole.manifest.arrays
    assert [row["loss"] for row in log_of(resumed.log)] == [row["loss"] for row in log_of(whole.log)]


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_take_no_random_number_from_the_networks_dropout(photos, workers):
    """A number that is taken in the first epoch alone would make a network with dropout end elsewhere where it was broken off."""
    train, augmentation = load_images("folder", photos).splits["train"], Augmentation(32)
    batches = AugmentedBatches(AugmentedImages(train, lambda image: torch.empty(0), augmentation, upright=True), workers, pinned=False)
    before = torch.get_rng_state()
    for epoch in range(2):
        parts = list(batches.epoch([[(i, epoch) for i in range(4)], [(4, epoch)]]))
        assert [len(torch.cat(one)) for one in parts] == [4, 1]
    assert torch.equal(before, torch.get_rng_state())


def test_images_are_hashed_again_only_where_a_file_was_changed(photos, whole, tmp_path, monkeypatch):
    copy, run, hashed = tmp_path / "photos", tmp_path / "run", []
    shutil.copytree(photos, copy)
    monkeypatch.setattr(module, "pixel_hashes", lambda images, workers: hashed.append(len(images)) or pixel_hashes(images, workers))
    for _ in range(2):  # the first begins, the second goes on
        with power_cut(monkeypatch, epoch=2):
            stage1(**options(copy, run))
    assert len(hashed) == 1
    os.utime(next((copy / "a").iterdir()), ns=(1, 1))
    done = stage1(**options(copy, run))
    assert len(hashed) == 2
    rows = [read_training_rows(one.weights) for one in (done, whole)]
    assert np.array_equal(*rows)


def test_training_is_that_of_a_plain_loop(photos, tmp_path):
    """The recipe's optimisation on the same pixels, written down by hand."""
    run, data = stage1(**options(photos, tmp_path / "run", epochs=1, seed=4)), load_images("folder", photos)
    network, train = module.fresh_network("resnet20", 3, 4), data.splits["train"]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-3)
    augmentation = Augmentation(32, flip=False)
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (MEAN, STD))
    index = epoch_order(len(train), 4, 0).tolist()  # one batch
    pixels = [augmentation.view(train.image(i), torch.empty(0), derive_seed("augment", 4, 0, i)) for i in index]
    logits = network((torch.stack(pixels) / 255 - mean) / std)
    F.cross_entropy(logits, torch.from_numpy(train.labels[index])).backward()
    optimizer.step()
    found = open_cache(run.cache).head()
    assert torch.allclose(found.weight, network.fc.weight.detach(), atol=1e-6)


@pytest.mark.parametrize("mixup", [0.0, 0.5])
def test_processes_share_every_batch(mixup):
    labels = torch.arange(23) % 3
    shares = [Epoch.make(labels, 5, 2, 8, mixup, Processes(rank, 3)) for rank in range(3)]
    alone, plain = (Epoch.make(labels, 5, 2, 8, alpha, Processes()) for alpha in (mixup, 0.0))
    for number, size in enumerate((8, 8, 7)):
        batch = plain.items[number]
        own = [share.items[number][mixup > 0 :] for share in shares]
        assert [item for part in own for item in part] == batch
        assert {share.totals[number] for share in shares} == {alone.totals[number]} == {size} == {len(batch)}
        if mixup:  # whoever is first in a share is mixed with who is before it in the whole batch
            assert all(share.items[number][0] == batch[batch.index(part[0]) - 1] for share, part in zip(shares, own, strict=True))
            assert alone.items[number] == [batch[-1], *batch]
    assert torch.equal(shares[0].mix, shares[2].mix)
    assert sorted(i for part in plain.items for i, _ in part) == list(range(23))
    assert {seed for part in plain.items for _, seed in part}.isdisjoint(
        {s for p in Epoch.make(labels, 5, 3, 8, 0, Processes()).items for _, s in p}
    )


def test_chunks_and_processes_change_no_pixel(photos, monkeypatch):
    monkeypatch.setattr("lt_bench.data.images.augmented.CHUNK_BYTES", 3 * 3 * 32 * 32)
    images = load_images("folder", photos).splits["train"]
    dataset = AugmentedImages(images, Transform(MEAN, STD, resize=37, crop=32).pixels, Augmentation(32, 0.4), upright=True)
    order = [[(i, 10 * i) for i in part] for part in ((3, 1, 4, 15, 9), (2, 6))]
    batches = AugmentedBatches(dataset, 2, pinned=False)
    for _ in range(2):
        found = [torch.cat(parts) for parts in batches.epoch(order)]
        assert [len(batch) for batch in found] == [5, 2]
        for batch, items in zip(found, order, strict=True):
            assert torch.equal(batch, torch.stack([dataset[item][0] for item in items]))


def test_it_starts_from_given_weights(photos, whole, tmp_path):
    run = stage1(**options(photos, tmp_path / "run", epochs=1, weights=whole.weights, recipe="decoupling"))
    assert f"(weights {whole.manifest.backbone.weights_hash})" in run.manifest.backbone.stage1
    first = float(log_of(run.log)[0]["loss"])
    assert first == pytest.approx(float(log_of(whole.log)[-1]["loss"]), rel=0.2)
    for other in (run.weights, None):
        with pytest.raises(UserError, match="holds a run with start"):
            stage1(**options(photos, tmp_path / "run", epochs=1, recipe="decoupling", weights=other))
    torch.manual_seed(1)
    save_weights(build_backbone("resnet20", 7), tmp_path / "seven.safetensors")
    run = stage1(**options(photos, tmp_path / "other", epochs=1, weights=tmp_path / "seven.safetensors"))
    assert open_cache(run.cache).head().weight.shape == (3, 64)


def test_a_broken_image_is_named(photos, tmp_path):
    copy = write_photos(tmp_path / "mine", {"a": 24, "b": 12, "c": 6}, suffix=".jpg", size=(40, 36))
    broken = load_images("folder", copy).splits["train"].paths[7]
    for text in (f"no image {i}" for i in range(50)):  # a split is by content: one of which the image stays in train
        (copy / broken).write_text(text)
        if broken in load_images("folder", copy).splits["train"].paths:
            break
    with pytest.raises(UserError, match=f"{broken}: not an image; mend it, or .*--skip-broken"):
        stage1(**options(copy, tmp_path / "run", epochs=1))
    run = stage1(**options(copy, tmp_path / "other", epochs=1, skip_broken=True))
    assert sum(run.manifest.dataset.train_counts) == len(load_images("folder", copy).splits["train"]) - 1
    assert broken not in (run.cache / "images.csv").read_text()


def test_a_broken_test_image_is_named_before_training(tmp_path, monkeypatch):
    copy = write_photos(tmp_path / "mine", {f"{split}/{name}": 4 for split in ("train", "val", "test") for name in "ab"}, suffix=".jpg")
    (copy / "test" / "b" / "2.jpg").write_text("no image")
    monkeypatch.setattr(module, "_train", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match=r"test/b/2\.jpg: not an image; mend it, or .*--skip-broken"):
        stage1(**options(copy, tmp_path / "run", epochs=1))


def test_flips_alone_are_of_the_evaluation_view(photos):
    images = load_images("folder", photos).splits["train"]
    evaluation = Transform(MEAN, STD, resize=32, square=True)
    dataset = AugmentedImages(images, evaluation.pixels, Augmentation(32, flips_only=True), upright=False)
    plain = evaluation.pixels(images.image(0))
    flips = [plain.flip(dims) for dims in ((), (-1,), (-2,), (-1, -2))]
    assert all(any(torch.equal(dataset[0, seed][0], flip) for flip in flips) for seed in range(4))


def test_validation_is_macro_accuracy_of_the_plain_view(photos):
    data = load_images("folder", photos)
    inputs = FileInputs(Transform(MEAN, STD, resize=37, crop=32), Augmentation(32), True, 0)
    trained = FilePretraining(build_backbone("resnet20", 3), data, inputs, stage1_recipe("los"))
    val, network = data.splits["val"], trained.network.eval()
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (MEAN, STD))
    x = (torch.stack([inputs.evaluation.pixels(val.image(i)) for i in range(len(val))]) / 255 - mean) / std
    correct = (network(x).argmax(1).numpy() == val.labels).astype(float)
    assert trained.val_accuracy() == pytest.approx(np.mean([correct[val.labels == c].mean() for c in np.unique(val.labels)]))


@pytest.mark.slow
def test_wandb_offline(photos, tmp_path):
    run = stage1(**options(photos, tmp_path / "run", epochs=1, wandb="offline"))
    assert list((run.weights.parent / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_nodes_under_torchrun(photos, whole, tmp_path):
    """Two torchrun agents with a process each; on the CPU each process normalises by its half of a batch, so digits differ from one process."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    interpreter, program = script(tmp_path / "train.py", options(photos, tmp_path / "run", wandb="offline"))
    torchrun = [interpreter, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1"]
    nodes = [
        subprocess.Popen(
            [*torchrun, "--node-rank", str(rank), "--master-port", str(port), program], env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        for rank in (0, 1)
    ]
    assert [node.wait(800) for node in nodes] == [0, 0]
    for one, two in zip(log_of(whole.log), log_of(tmp_path / "run" / "log.csv"), strict=True):
        assert one["lr"] == two["lr"]
        assert float(two["loss"]) == pytest.approx(float(one["loss"]), rel=0.2)
    assert open_cache(tmp_path / "run" / "cache").manifest.dataset == whole.manifest.dataset
    assert len(list((tmp_path / "run" / "wandb").glob("offline-run-*"))) == 1
