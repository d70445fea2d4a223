import dataclasses
import io
import json
import os
import shlex
import signal
import subprocess
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_image_files import write_cifar10
from stage1_runs import log_of, power_cut, script, stage1

from lt_bench.backbones.checkpoints import read_state
from lt_bench.backbones.training_rows import read_training_rows
from lt_bench.backbones.weights import weights_hash
from lt_bench.bench.from_images import pretrain_images
from lt_bench.bench.sources.end_to_end import read_phase1
from lt_bench.cli.request import parse
from lt_bench.core.errors import UserError
from lt_bench.core.seals import seal_archive
from lt_bench.data.hashes import pixel_hashes
from lt_bench.data.readers.small_images import load_small_images
from lt_bench.engine.pretrain.recipes import stage1_recipe
from lt_bench.features.cache import open_cache

pytestmark = pytest.mark.usefixtures("light_resnet20")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_cifar10(tmp_path_factory.mktemp("data") / "cifar10", n_max=24).parent


def options(data_dir, out, **changes):
    settings = {
        "dataset": "cifar10_lt", "data_dir": data_dir, "out": out, "backbone": "resnet20", "recipe": "los", "imbalance_factor": 4, "epochs": 4, "views": 1,
        "checkpoint_every": 2, "validate_every": 2, "accelerator": "cpu", "progress": False,
    }  # fmt: skip
    return settings | changes


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    return stage1(**options(data_dir, tmp_path_factory.mktemp("runs") / "whole"))


def test_it_leaves_weights_log_and_cache(whole):
    rows = log_of(whole.log)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.01, 0.0085355, 0.005, 0.0014645], rel=1e-4)
    assert [bool(row["val_accuracy"]) for row in rows] == [False, True, False, True]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    cache = open_cache(whole.cache)
    assert cache.manifest.backbone.weights_hash == weights_hash(read_state(whole.weights))
    assert cache.manifest.views == {"train": ("plain", "aug1"), "val": ("plain",), "test": ("plain", "flip")}
    assert not cache.manifest.dataset.val_seen_by_backbone
    assert "recipe los: 4 epochs, SGD lr 0.01, momentum 0.9, weight decay 0.005, batch 64, cosine" in cache.manifest.backbone.stage1
    assert {path.name for path in whole.weights.parent.iterdir()} == {"plan.json", "log.csv", "weights.safetensors", "cache"}


def test_more_validation_images_train_the_same_network(data_dir, whole, tmp_path):
    more = stage1(**options(data_dir, tmp_path / "more", val_per_class="all"))
    usual, cache = open_cache(whole.cache), open_cache(more.cache)
    assert cache.manifest.backbone.weights_hash == usual.manifest.backbone.weights_hash
    assert len(cache.split("val")) == len(usual.split("val")) + 240 - len(cache.split("train"))
    assert cache.manifest.independence["seen_by_backbone"] == {"val": 0, "test": 0}
    with pytest.raises(UserError, match="other validation images than asked for"):
        stage1(**options(data_dir, whole.weights.parent, val_per_class="all"))


def test_what_it_leaves_knows_its_training_images(data_dir, whole, tmp_path):
    data = load_small_images("cifar10_lt", data_dir, imbalance_factor=4)
    hashes = sorted(pixel_hashes(data.splits["train"]).tolist())
    rows = read_training_rows(whole.weights)
    assert rows is not None
    assert rows.tolist() == hashes
    later = stage1(**options(data_dir, tmp_path / "later", imbalance_factor=2, epochs=1, weights=whole.weights, keep_epochs=[1]))
    both = np.union1d(rows, pixel_hashes(load_small_images("cifar10_lt", data_dir, imbalance_factor=2).splits["train"]))
    phase1 = read_phase1(tmp_path / "later" / "epoch-1.ckpt", "resnet20", 10)
    for after in (read_training_rows(later.weights), phase1.rows):
        assert after is not None
        assert after.tolist() == both.tolist()


def test_a_second_call_trains_nothing(data_dir, whole, monkeypatch):
    monkeypatch.setattr("lt_bench.bench.pretrain._fit", lambda *_: pytest.fail("trained again"))
    again = stage1(**options(data_dir, whole.weights.parent))
    assert again.manifest == whole.manifest


@pytest.mark.parametrize("name", ["weights.safetensors", "log.csv"])
def test_files_of_no_run_are_neither_taken_nor_replaced(data_dir, tmp_path, name):
    (tmp_path / name).write_text("of the user")
    words = ["--dataset", "cifar10_lt", "--data-dir", str(data_dir), "--imbalance-factor", "4", "--backbone", "resnet20", "--epochs", "1", "--accelerator", "cpu"]  # fmt: skip
    with pytest.raises(UserError, match=f"{name}: of no run that is known here"):
        pretrain_images(parse("pretrain", [*words, "--out", str(tmp_path)]))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["of the user"]


def test_a_folder_of_other_things_gets_no_run(data_dir, tmp_path):
    (tmp_path / "cats").mkdir()
    words = ["--dataset", "cifar10_lt", "--data-dir", str(data_dir), "--imbalance-factor", "4", "--backbone", "resnet20", "--epochs", "1", "--accelerator", "cpu"]  # fmt: skip
    with pytest.raises(UserError, match="holds other things and no run of stage 1; name a new place or an empty folder with --out"):
        pretrain_images(parse("pretrain", [*words, "--out", str(tmp_path)]))
    assert [path.name for path in tmp_path.iterdir()] == ["cats"]


def test_numbers_of_the_recipe_are_in_the_plan_and_part_of_the_run(data_dir, tmp_path):
    words = ["--dataset", "cifar10_lt", "--data-dir", str(data_dir), "--imbalance-factor", "4", "--backbone", "resnet20", "--recipe", "fast", "--epochs", "1", "--views", "0", "--accelerator", "cpu"]  # fmt: skip
    given = parse("pretrain", [*words, "--out", str(tmp_path / "out"), "--recipe.weight_decay", "4e-4", "--recipe.batch-size", "32"])
    done = pretrain_images(given)
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert "weight decay 0.0004, batch 32, cosine" in plan["recipe"]
    assert plan["source"].endswith("; with weight_decay 0.0004, batch_size 32 in place of its own")
    assert "weight decay 0.0004, batch 32" in done.manifest.backbone.stage1
    command = shlex.split(done.manifest.command)
    assert parse("pretrain", command[2:]).recipe_fields == given.recipe_fields
    assert pretrain_images(given).manifest == done.manifest
    for other in ({"weight_decay": 4.000001e-4, "batch_size": 32}, {"batch_size": 32}):
        with pytest.raises(UserError, match="holds a run with recipe"):
            pretrain_images(dataclasses.replace(given, recipe_fields=other))


def test_numbers_of_a_recipe(tmp_path):
    (tmp_path / "a.yaml").write_text("recipe: {name: ldam, lr: 0.2, epochs: 20}\n")
    given = parse("pretrain", ["--config", str(tmp_path / "a.yaml"), "--recipe.mixup", "1", "--recipe.decay=0.1"])
    assert (given.recipe, given.epochs, given.recipe_fields) == ("ldam", 20, {"lr": 0.2, "mixup": 1.0, "decay": 0.1})
    changed = stage1_recipe("ldam").with_fields(given.recipe_fields)
    assert (changed.optimisation.lr, changed.optimisation.decay, changed.mixup) == (0.2, 0.1, 1.0)
    assert stage1_recipe("ldam").with_fields({"lr": 0.1}) is stage1_recipe("ldam")
    with pytest.raises(UserError, match="no such number \\(did you mean 'momentum'"):
        stage1_recipe("ldam").with_fields({"momentun": 0.5})


def test_another_run_in_the_same_place_is_refused(data_dir, whole):
    with pytest.raises(UserError, match="holds a run with seed 0, not 1"):
        stage1(**options(data_dir, whole.weights.parent, seed=1))
    with pytest.raises(UserError, match="holds a run with recipe"):
        stage1(**options(data_dir, whole.weights.parent, epochs=5))


def test_a_broken_off_run_ends_the_same(data_dir, whole, tmp_path, monkeypatch):
    with power_cut(monkeypatch, epoch=3):
        stage1(**options(data_dir, tmp_path / "run"))
    assert (tmp_path / "run" / "last.ckpt").is_file()
    resumed = stage1(**options(data_dir, tmp_path / "run"))
    assert resumed.manifest.backbone.weights_hash == whole.manifest.backbone.weights_hash
    assert resumed.manifest.arrays == whole.manifest.arrays
    for a, b in zip(log_of(resumed.log), log_of(whole.log), strict=True):
        assert a | {"seconds": ""} == b | {"seconds": ""}


@pytest.mark.slow
def test_sigkill_and_resume(data_dir, whole, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(script(tmp_path / "train.py", options(data_dir, out)))
    while not (out / "last.ckpt").is_file():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "weights.safetensors").exists()
    assert stage1(**options(data_dir, out)).manifest.arrays == whole.manifest.arrays


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes(data_dir, whole, tmp_path):
    out = tmp_path / "run"
    subprocess.run(script(tmp_path / "train.py", options(data_dir, out, devices=2)), check=True, timeout=800)
    # On CPU each process normalises with the statistics of its own half of the batch: the same images and steps, not the same digits.
    for one, two in zip(log_of(whole.log), log_of(out / "log.csv"), strict=True):
        assert one["lr"] == two["lr"]
        assert float(two["loss"]) == pytest.approx(float(one["loss"]), rel=0.2)
    assert open_cache(out / "cache").manifest.dataset == whole.manifest.dataset


def test_seeds_and_kept_epochs(data_dir, tmp_path):
    run = stage1(**options(data_dir, tmp_path / "a", epochs=2, seed=5, keep_epochs=(1,), half_weights=True))
    kept = torch.load(tmp_path / "a" / "epoch-1.ckpt", weights_only=True)
    assert kept["epoch"] in (0, 1)
    state = load_file(run.weights)
    assert state["conv1.weight"].dtype == torch.float16
    assert state["bn1.running_var"].dtype == torch.float32
    other = stage1(**options(data_dir, tmp_path / "b", epochs=2, seed=6, half_weights=True))
    assert run.manifest.backbone.weights_hash != other.manifest.backbone.weights_hash


def test_wrong_arguments(data_dir, tmp_path):
    for changes, message in (
        ({"recipe": "lost"}, "did you mean los"),
        ({"backbone": "resnet33"}, "did you mean resnet"),
        ({"accelerator": "tpu"}, "not one of auto, cpu, gpu"),
        ({"checkpoint_every": 0}, "at least 1"),
        ({"epochs": 0}, "epochs is 0"),
    ):
        with pytest.raises(UserError, match=message):
            stage1(**options(data_dir, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


class Planted:
    def __reduce__(self):
        return (os.mkdir, (os.environ["PLANTED"],))


def test_a_checkpoint_is_whole_and_runs_nothing(data_dir, tmp_path, monkeypatch):
    """Flipped bytes are one line and never other weights, of a run that goes on and of a phase 1; a planted object does not run."""
    monkeypatch.setenv("PLANTED", str(tmp_path / "ran"))
    settings = options(data_dir, tmp_path / "run", keep_epochs=(1,))
    with power_cut(monkeypatch, epoch=3):
        stage1(**settings)
    last, kept = tmp_path / "run" / "last.ckpt", tmp_path / "run" / "epoch-1.ckpt"
    content, generator = last.read_bytes(), np.random.default_rng(0)
    monkeypatch.setattr("lt_bench.bench.pretrain._train", lambda *_: pytest.fail("trained on"))
    for position in [int(one) for one in generator.integers(len(content), size=15)] + [len(content) - 30]:
        changed = content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]
        for path in (last, kept):
            path.write_bytes(changed)
            with pytest.raises(UserError, match="damaged: its bytes are not what was written") as error:
                stage1(**settings) if path == last else read_phase1(path, "resnet20", 10)
            assert "\n" not in str(error.value)
    monkeypatch.undo()
    monkeypatch.setenv("PLANTED", str(tmp_path / "ran"))
    torch.save({**torch.load(io.BytesIO(content), weights_only=True), "planted": Planted()}, last)
    with pytest.raises(UserError, match="carries no seal"):
        stage1(**settings)
    seal_archive(last)
    with pytest.raises(UserError, match="not read for safety") as error:
        stage1(**settings)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()
    last.write_bytes(content)
    (tmp_path / "run" / "log.csv").write_text("epoch,lr\nx,1\n")
    with pytest.raises(UserError, match="a damaged log of epochs"):
        stage1(**settings)
    (tmp_path / "run" / "log.csv").unlink()
    (tmp_path / "run" / "plan.json").write_bytes(b"[\xff]")
    with pytest.raises(UserError, match=r"plan\.json: damaged"):
        stage1(**settings)
