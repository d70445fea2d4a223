import dataclasses

import pytest
import torch
from extracting import extract_from
from small_image_files import write_cifar10

from lt_bench.backbones.weights import save_weights
from lt_bench.bench.options import CacheOptions, PretrainOptions, RunOptions, StrategyChoice, VerifyOptions
from lt_bench.bench.pretrain import fresh_network, pretrain
from lt_bench.bench.run import run as run_and_record
from lt_bench.bench.sources.end_to_end import read_phase1
from lt_bench.bench.sources.find_cache import resolve_cache
from lt_bench.bench.sources.image_options import image_bench
from lt_bench.bench.verify import cache_of, check_repeats, unstable, verify
from lt_bench.cli.fits import run_verb
from lt_bench.cli.output import Output
from lt_bench.core.errors import UserError
from lt_bench.data.hashes import pixel_hashes
from lt_bench.data.images.augment import CropViews, padded
from lt_bench.data.load import load_images
from lt_bench.data.readers.small_images import load_small_images
from lt_bench.engine.heads.fit import Hardware, facts_of, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.engine.image_source import ImageSource, prepare
from lt_bench.engine.pretrain.callbacks import KeepCheckpoint
from lt_bench.features.cache import open_cache
from lt_bench.features.extraction.sources import view_draws
from lt_bench.features.shared import shared_of
from lt_bench.results.compare import compare
from lt_bench.results.store import Store
from lt_bench.strategies.registry import find

pytestmark = pytest.mark.usefixtures("light_resnet20")

SHORT = {"epochs": 2, "batch_size": 32, "lr": 0.05}


def run(options):
    return run_and_record(options).checked()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_cifar10(tmp_path_factory.mktemp("data") / "cifar10", n_max=6).parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path, network = tmp_path_factory.mktemp("weights") / "stage1.safetensors", fresh_network("resnet20", 10, 3)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    network.train()(torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)))  # statistics that fit the weights
    save_weights(network, path)
    return path


@pytest.fixture(scope="module")
def cache(data_dir, weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("cache") / "cache"
    extract_from(
        dataset="cifar10_lt", data_dir=data_dir, backbone="resnet20", weights=weights, out=out, imbalance_factor=2, views=2, dtype="float32",
        accelerator="cpu", progress=False,
    )  # fmt: skip
    return open_cache(out)


@pytest.fixture
def options(data_dir, weights, tmp_path):
    def made(strategy="los", hyperparameters=SHORT, **changes):
        settings = {
            "strategy": StrategyChoice(strategy, dict(hyperparameters)), "dataset": "cifar10_lt", "data_dir": data_dir, "imbalance_factor": 2,
            "backbone": "resnet20", "weights": weights, "protocol": "images-eval", "accelerator": "cpu", "results": tmp_path / "results",
        }  # fmt: skip
        return RunOptions(**settings | changes)

    return made


@pytest.fixture
def whole(options, tmp_path):
    """Options of an end-to-end run."""

    def made(strategy="ldam_drw", hyperparameters=None, **changes):
        settings = {
            "weights": None, "protocol": "clean", "mode": "end-to-end", "recipe": "ldam", "epochs": 2, "checkpoints": tmp_path / "e2e", "checkpoint_every": 1,
        }  # fmt: skip
        return options(strategy, hyperparameters or {"batch_size": 32}, **settings | changes)

    return made


def test_on_the_augmentations_of_a_stored_cache_it_gives_the_head_of_the_cache(options, cache):
    bench, *_ = image_bench(find("los"), options())
    split = cache.split("train")
    cuts = CropViews.of({view: view_draws(view, len(split)) for view in split.views})
    prepare(bench.network, "frozen")
    images = ImageSource(bench.network, padded(bench.data.splits["train"].images), split.labels, bench.data.spec, views=cuts)
    entry = find("los")
    jobs = [HeadJob(entry, entry.resolve("cifar10_lt", None, SHORT), repetition) for repetition in (0, 1)]
    one, other = (fit_heads([jobs], facts_of(cache), train, Hardware("cpu"))[0].strategy for train in (split, images))
    assert torch.allclose(one.weight, other.weight, rtol=0, atol=1e-5)
    assert torch.allclose(one.bias, other.bias, rtol=0, atol=1e-5)
    assert not torch.allclose(one.weight[0], cache.head().weight, atol=1e-3)


def test_the_stage_1_head_on_images_is_that_on_the_cache(options, cache, tmp_path):
    (images,) = run(options("joint", {}, cache=f"{cache.path}/"))
    (clean,) = run(RunOptions(strategy=StrategyChoice("joint"), cache=f"{cache.path}/", results=tmp_path / "results", accelerator="cpu"))
    for view, metrics in clean.metrics.items():
        assert images.metrics[view]["accuracy"] == metrics["accuracy"]
        assert images.metrics[view]["nll"] == pytest.approx(metrics["nll"], abs=1e-4)
    assert clean.identity.cache_key != images.identity.cache_key
    with pytest.raises(UserError, match="split_hash is"):
        run(options("joint", {}, cache=f"{cache.path}/", imbalance_factor=3))


@pytest.mark.parametrize("protocol", ["images-eval", "images-train"])
def test_records_say_the_protocol_and_repeat(options, protocol, tmp_path):
    records = run(options(protocol=protocol, seeds=[0, 1], best_test_epoch=True))
    for record, seed in zip(records, (0, 1), strict=True):
        assert (record.identity.protocol, record.identity.mode, record.identity.seed) == (protocol, "head", seed)
        assert record.seeds.varies == "batch order and augmentation, one backbone"
        assert record.metrics["test_best_epoch"]["epoch"] in (1, 2)
        assert record.metrics["test_best_epoch"]["accuracy"] >= record.metrics["test"]["accuracy"]
        assert record.metrics.keys() == {"test", "train", "val", "test_flip", "test_best_epoch"}
        assert record.training.trained_parameters == 10 * 64 + 10
    assert records[0].training.history != records[1].training.history
    assert (
        f"--data-dir DIR --backbone resnet20 --imbalance-factor 2 --protocol {protocol} --weights stage1.safetensors" in records[0].command
    )
    (alone,) = run(options(protocol=protocol, seeds=[1], results=tmp_path / "alone"))
    assert max(compare(alone, records[1]).values()) < 1e-5  # each seed begins with the backbone of stage 1
    made = options()
    path = Store(made.results).path(records[1])
    repeated = VerifyOptions(path, data_dir=made.data_dir, weights=made.weights)
    check_repeats(repeated, *verify(repeated))
    save_weights(fresh_network("resnet20", 10, 4), tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="other images or weights"):
        verify(VerifyOptions(path, data_dir=made.data_dir, weights=tmp_path / "other.safetensors"))


def test_records_say_which_test_images_were_trained_on(options, whole, monkeypatch):
    def leaky(*words, **reading):
        data = load_images(*words, **reading)
        test = data.splits["test"]
        images = test.images.copy()
        images[:5] = data.splits["train"].images[:5]
        return dataclasses.replace(data, splits={**data.splits, "test": dataclasses.replace(test, images=images)})

    assert image_bench(find("los"), options())[0].manifest.audit["repeated_rows"]["test in train"] == 0
    monkeypatch.setattr("lt_bench.bench.sources.image_options.load_images", leaky)
    (record,) = run(options("joint", {}))
    assert record.cache.shared == {"test in train": [5, 40]}
    assert shared_of(image_bench(find("ldam_drw"), whole())[0].manifest) == record.cache.shared


def test_end_to_end_is_recorded_and_repeats(whole):
    made = whole(keep_epochs=[1])
    (record,) = run(made)
    assert (record.identity.mode, record.identity.protocol) == ("end-to-end", "images-train")
    assert record.identity.hyperparameters["stage1_recipe"] == "ldam"
    parameters = dict(fresh_network("resnet20", 10, 0).named_parameters())
    assert record.training.trained_parameters == sum(one.numel() for name, one in parameters.items() if name != "fc.bias")  # LDAM has none
    assert "recipe ldam: 2 epochs" in record.backbone.stage1
    assert record.seeds.varies == "initial weights, batch order and augmentation"
    assert "--mode end-to-end --recipe ldam --epochs 2 --precision fp32" in record.command
    folder = made.checkpoints / record.id
    assert {path.name for path in folder.iterdir()} == {"weights.safetensors", "epoch-1.ckpt"}
    repeated = VerifyOptions(Store(made.results).path(record), data_dir=made.data_dir)
    check_repeats(repeated, *verify(repeated))
    with pytest.raises(UserError, match="fitted on images"):
        cache_of(record, None)


class PowerCut(Exception):
    pass


@pytest.mark.parametrize(("strategy", "begun"), [("d_ffds", False), ("balanced_softmax", True)])
def test_a_broken_off_end_to_end_run_ends_the_same(whole, weights, tmp_path, monkeypatch, strategy, begun):
    settings = {"strategy": strategy, "best_test_epoch": True, "phase1": weights if begun else None}
    (unbroken,) = run(whole(**settings))
    save, calls = KeepCheckpoint._save, []

    def breaks(self, trainer, path):
        if len(calls) == 1:
            raise PowerCut
        calls.append(path)
        save(self, trainer, path)

    again = {**settings, "results": tmp_path / "again", "checkpoints": tmp_path / "e2e-again"}
    with monkeypatch.context() as patch:
        patch.setattr(KeepCheckpoint, "_save", breaks)
        with pytest.raises(PowerCut):
            run(whole(**again))
    assert list((tmp_path / "e2e-again").glob("*/last.ckpt"))
    (resumed,) = run(whole(**again))
    assert max(compare(unbroken, resumed).values()) == 0
    assert resumed.training.history == unbroken.training.history
    assert resumed.training.steps == unbroken.training.steps


def test_phase_1_is_shared(whole, data_dir, tmp_path):
    options = PretrainOptions(
        dataset="cifar10_lt", data_dir=data_dir, out=tmp_path / "stage1", backbone="resnet20", recipe="ldam", imbalance_factor=2, epochs=2, views=0,
        accelerator="cpu", keep_epochs=[1],
    )  # fmt: skip
    pretrain(options, progress=False)
    phase1 = tmp_path / "stage1" / "epoch-1.ckpt"
    later, own = (
        run(whole("ib", phase1=phase1))[0],
        run(whole("d_ffds", {"epochs": 1, "batch_size": 32}, phase1=phase1, recipe=None, epochs=None))[0],
    )
    assert [row["epoch"] for row in later.training.history] == [1]
    assert [row["epoch"] for row in own.training.history] == [0]
    assert later.identity.hyperparameters["phase1"] == own.identity.hyperparameters["phase1"]
    assert later.identity.hyperparameters["phase1"] is not None
    assert later.seeds.varies == "batch order and augmentation, one phase 1"
    with pytest.raises(UserError, match="nothing is left to train"):
        run(whole("ib", phase1=phase1, epochs=1))
    for refused, why in (
        ({"epochs": 4}, "after 2 epochs of cross-entropy, and .*epoch-1.ckpt has 1:"),
        ({"phase1": None}, "after 1 epochs of .* none is given"),
    ):
        with pytest.raises(UserError, match=why):
            run(whole("ib", **{"recipe": "ib", "phase1": phase1} | refused))
    assert [row["epoch"] for row in run(whole("ib", recipe="ib", phase1=phase1))[0].training.history] == [1]
    first = run(whole("ldam", keep_epochs=[1]))[0]
    kept = whole().checkpoints / first.id / "epoch-1.ckpt"
    assert run(whole("ldam_drw", phase1=kept))[0].training.history[0]["epoch"] == 1
    trained_on = pixel_hashes(load_small_images("cifar10_lt", data_dir, imbalance_factor=2).splits["train"])
    for network in (kept, kept.with_name("weights.safetensors")):
        rows = read_phase1(network, "resnet20", 10).rows
        assert rows is not None
        assert rows.tolist() == sorted(trained_on.tolist())


@pytest.mark.parametrize(("strategy", "goes_on"), [("crt", True), ("ce", True), ("cosine", False)])
def test_after_a_phase_1_its_classifier_goes_on_in_place_of_a_random_one(whole, weights, strategy, goes_on):
    made = whole(strategy, {"epochs": 1, "batch_size": 32, "lr": 1e-12}, phase1=weights, recipe=None, epochs=None)
    (record,) = run(made)
    assert record.identity.hyperparameters["phase1"].endswith(" with its classifier") == (strategy == "crt")
    assert record.seeds.varies == f"{'' if goes_on else 'initial head, '}batch order and augmentation, one phase 1"
    if goes_on:
        before, after = (
            read_phase1(path, "resnet20", 10).network.fc for path in (weights, made.checkpoints / record.id / "weights.safetensors")
        )
        assert torch.allclose(before.weight, after.weight, atol=1e-6)
        assert torch.allclose(before.bias, after.bias, atol=1e-6)


def test_test_images_that_the_backbone_was_trained_on_are_refused(options, whole, data_dir, tmp_path):
    test = load_small_images("cifar10_lt", data_dir, imbalance_factor=2).splits["test"]
    leaky = tmp_path / "leaky.safetensors"
    save_weights(fresh_network("resnet20", 10, 3), leaky, rows=pixel_hashes(test)[:5])
    message = "leaky.safetensors: 5 of the 40 test images of cifar10_lt are among the 5 that these weights were trained on"
    for refused in (options(weights=leaky), whole(phase1=leaky)):
        with pytest.raises(UserError, match=message):
            run(refused)


def test_best_test_epoch_on_a_cache(options, cache, tmp_path):
    made = RunOptions(
        strategy=StrategyChoice("ce", dict(SHORT)), cache=f"{cache.path}/", results=tmp_path / "results", accelerator="cpu", best_test_epoch=True, seeds=[0, 1]
    )  # fmt: skip
    for record in run(made):
        best = record.metrics["test_best_epoch"]
        assert best["accuracy"] >= record.metrics["test"]["accuracy"]
        assert best["epoch"] in (1, 2)
    assert "test_best_epoch" not in run(dataclasses.replace(made, results=tmp_path / "plain", best_test_epoch=False))[0].metrics
    with pytest.raises(UserError, match="recorded without --best-test-epoch"):
        run(dataclasses.replace(made, results=tmp_path / "plain"))


def test_what_has_no_epochs_has_no_best_one(cache, tmp_path, capsys):
    made = RunOptions(cache=f"{cache.path}/", results=tmp_path / "results", accelerator="cpu", best_test_epoch=True)
    with pytest.raises(UserError, match="no epochs in tau_norm, ncm; leave it out"):
        run(dataclasses.replace(made, strategy=StrategyChoice("tau_norm,ncm")))
    assert not made.results.exists()
    both = dataclasses.replace(made, strategy=StrategyChoice("ncm,los"))
    run_verb(both, Output())
    assert "no epochs in ncm, and so no best test epoch" in capsys.readouterr().err
    known, fitted = run(both)
    assert "test_best_epoch" not in known.metrics
    assert "--best-test-epoch" not in known.command
    assert "test_best_epoch" in fitted.metrics
    assert "--best-test-epoch" in fitted.command


def test_a_difference_is_relative_to_figures_above_one(cache, tmp_path):
    (record,) = run(RunOptions(strategy=StrategyChoice("ncm"), cache=f"{cache.path}/", results=tmp_path / "results", accelerator="cpu"))
    figures = {"small": 0.25, "large": -116.0, "absent": float("nan")}
    before, after = (
        dataclasses.replace(record, metrics={"test": {name: value + change for name, value in figures.items()}}) for change in (0, 5.8e-5)
    )
    found = compare(before, after)
    assert found["test/small"] == pytest.approx(5.8e-5)
    assert found["test/large"] == pytest.approx(5e-7)
    assert found["test/absent"] == 0
    courses = ([2.0, 3.9, 0.1], [2.0, 55.0, 9.0], [])
    said = [
        unstable(dataclasses.replace(record, training=dataclasses.replace(record.training, history=[{"loss": x} for x in c])))
        for c in courses
    ]
    assert said[0] == said[2] == ""
    assert "rose from 2 to 55, so rounding decides" in said[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": None}, "needs --backbone too"),
        ({"weights": None}, "needs --weights FILE"),
        ({"dataset": "places_lt"}, "no .*|missing|image files"),
        ({"backbone": "torchvision.resnet18"}, "is for images of 224 pixels"),
        ({"protocol": "images-train", "devices": 2}, "use --devices 1"),
        ({"strategy": StrategyChoice("joint"), "protocol": "images-train"}, "fits nothing by batches"),
        ({"recipe": "los"}, "--recipe is for --mode end-to-end"),
        ({"protocol": "clean", "precision": "bf16"}, "--precision is for fitting on images"),
        ({"tuned": True}, "name it with --cache"),
        ({"skip_broken": True}, "--skip-broken is for extracting features"),
        ({"mode": "end-to-end"}, "re-trains a head"),
        ({"mode": "end-to-end", "protocol": "clean"}, "leave --weights and --cache out"),
        ({"mode": "end-to-end", "protocol": "clean", "weights": None}, "needs --recipe NAME"),
        ({"mode": "end-to-end", "protocol": "clean", "weights": None, "recipe": "mixup"}, "mixes labels"),
        (
            {"mode": "end-to-end", "protocol": "clean", "weights": None, "recipe": "los", "strategy": StrategyChoice("tau_norm")},
            "fits nothing by batches",
        ),
        ({"mode": "end-to-end", "protocol": "clean", "weights": None, "recipe": "los", "strategy": StrategyChoice("lws")}, "held fixed"),
        (
            {"mode": "end-to-end", "protocol": "clean", "weights": None, "recipe": "los", "strategy": StrategyChoice("meta_sampler")},
            "step of its own",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(options, changes, message, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        run(dataclasses.replace(options(), **changes))
    assert "\n" not in str(error.value) or "dataset" in changes
    assert not (tmp_path / "results").exists()


def test_a_cache_is_not_taken_for_that_of_other_weights_or_another_subset(cache, weights, tmp_path):
    named = CacheOptions(cache=str(cache.path), weights=weights)
    assert resolve_cache(named).key == cache.key
    other = tmp_path / "other.safetensors"
    save_weights(fresh_network("resnet20", 10, 4), other)
    with pytest.raises(UserError, match="weights_hash is"):
        resolve_cache(dataclasses.replace(named, weights=other))
    with pytest.raises(UserError, match="selection first, and --selection is seed0"):
        resolve_cache(dataclasses.replace(named, selection="seed0"))
    with pytest.raises(UserError, match="selection first, and --profile is step"):
        resolve_cache(dataclasses.replace(named, profile="step"))


def test_a_cache_is_not_taken_for_that_of_other_images(cache, data_dir, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path))
    (tmp_path / "caches").mkdir()
    (tmp_path / "caches" / "known").symlink_to(cache.path)
    other = write_cifar10(tmp_path / "data" / "cifar10", n_max=7).parent
    by_name = CacheOptions(dataset="cifar10_lt", imbalance_factor=2, data_dir=data_dir)
    for named in (by_name, CacheOptions(cache="known", data_dir=data_dir)):
        assert resolve_cache(named).key == cache.key
        assert f"known has the features of the images in {data_dir}" in capsys.readouterr().err
        with pytest.raises(UserError, match=f"known .split {cache.manifest.dataset.split_hash}.: not of the images in {other}"):
            resolve_cache(dataclasses.replace(named, data_dir=other))
    found = resolve_cache(dataclasses.replace(by_name, data_dir=other, backbone="resnet20", weights=weights))  # needed to extract them
    assert found.manifest.dataset.split_hash != cache.manifest.dataset.split_hash
    assert sum(found.manifest.dataset.train_counts) > sum(cache.manifest.dataset.train_counts)


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ({}, {"first", "seed0", "first (step profile)", "given"}),
        ({"selection": "first"}, {"first", "first (step profile)"}),
        ({"selection": "seed0"}, {"seed0"}),
        ({"profile": "exponential"}, {"first", "seed0"}),
        ({"profile": "step", "selection": "first"}, {"first (step profile)"}),
    ],
)
def test_a_subset_that_was_asked_for_is_had(said, fits, make_cache, tmp_path):
    for number, selection in enumerate(("first", "seed0", "first (step profile)", "given")):
        path = make_cache(tmp_path / str(number), dataset={"name": "cifar10_lt", "imbalance_factor": 50.0, "selection": selection})
        options = CacheOptions(cache=str(path), **said)
        if selection in fits:
            assert resolve_cache(options).path == path
        else:
            with pytest.raises(UserError, match="name the right cache"):
                resolve_cache(options)
