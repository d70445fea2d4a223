import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lt_bench.backbones import loading
from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.bench.options import UpdateOptions
from lt_bench.bench.requirements import require_weights
from lt_bench.cli import preflight
from lt_bench.cli.main import main
from lt_bench.deploy import export as exporting
from lt_bench.deploy.classifier import load_classifier
from lt_bench.features.cache import open_cache
from lt_bench.features.manifest import BackboneInfo, DatasetInfo
from lt_bench.features.write import Description, write_cache
from lt_bench.results.store import Store

COUNTS = (12, 6, 3)
NAMES = ("red panda", "schöner Fuchs", "owl")
WORDS = "resize 36, centre crop 32; mean 0.5 0.4 0.3, std 0.2 0.25 0.3"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of images of several sizes and kinds, in an order of paths."""
    folder = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    (folder / "deep er").mkdir()
    for name, size, mode in (
        ("a.png", (50, 41), "RGB"),
        ("b.JPG", (36, 60), "L"),
        ("deep er/ü.webp", (32, 32), "RGB"),
        ("z.png", (90, 40), "RGBA"),
    ):
        pixels = generator.integers(0, 256, (*size[::-1], len(mode)), dtype=np.uint8)
        Image.fromarray(pixels.squeeze()).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights of a small network, a cache of its features on 32x32 pictures, and those pictures."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    network = build_backbone("resnet20", 3).eval()
    digest = save_weights(network, folder / "w.safetensors")
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3)))
    arrays, pixels = {}, {}
    for split, labels in (
        ("train", torch.arange(3).repeat_interleave(torch.tensor(COUNTS))),
        ("test", torch.arange(3).repeat_interleave(5)),
    ):
        pixels[split] = (torch.rand(len(labels), 3, 32, 32) * 0.5 + labels.view(-1, 1, 1, 1) * 0.2).mul(255).round().to(torch.uint8)
        with torch.inference_mode():
            arrays[f"{split}/features/plain"] = network.features((pixels[split] / 255 - mean) / std)
        arrays[f"{split}/labels"] = labels
    arrays["head/weight"], arrays["head/bias"] = network.fc.weight.detach(), network.fc.bias.detach()
    dataset = DatasetInfo("embeddings", NAMES, COUNTS, "7" * 16)
    write_cache(
        folder / "cache",
        Description("pictures", dataset, BackboneInfo("resnet20", digest, 64), {"evaluation": WORDS, "augmentation": ""}, "float32"),
        arrays,
    )
    return folder, pixels["test"]


def record_of(cache, strategy, results, *options):
    assert main(["run", "--strategy", strategy, "--cache", str(cache), "--results", str(results), "--accelerator", "cpu", *options]) == 0
    return next(path for path in Store(results).paths() if path.name.startswith(f"{strategy}-"))


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The export of logit adjustment, which is folded into the bias."""
    folder = tmp_path_factory.mktemp("exported")
    record = record_of(trained[0] / "cache", "logit_adjustment", folder / "results")
    done = main(
        [
            "export",
            "--record",
            str(record),
            "--cache",
            str(trained[0] / "cache"),
            "--weights",
            str(trained[0] / "w.safetensors"),
            "--out",
            str(folder / "out"),
        ]
    )
    assert done == 0
    return folder / "out", record


def test_the_export_predicts_what_the_record_did(exported, trained):
    out, record = exported
    arrays = Store(record.parent.parent).arrays(json.loads(record.read_text())["id"])
    model = load_classifier(out)
    with torch.inference_mode():
        probabilities = model(trained[1]).softmax(1)
        as_floats = model(trained[1] / 255).softmax(1)
    assert np.array_equal(probabilities.argmax(1).numpy(), arrays["test_predictions"])
    true = probabilities[torch.arange(15), torch.from_numpy(arrays["test_labels"]).long()]
    assert np.allclose(true.numpy(), arrays["test_true_probability"], atol=1e-4)
    assert torch.allclose(probabilities, as_floats, atol=1e-6)
    adjustment = torch.tensor(COUNTS).float().div(sum(COUNTS)).log()
    head = open_cache(trained[0] / "cache").head()
    assert torch.allclose(model.network.head.bias, head.bias - adjustment, atol=1e-5)
    assert model.classes == NAMES
    assert model.description["provenance"]["strategy"] == "logit_adjustment"


def test_without_training_code(exported, trained, photographs, tmp_path):
    """The program runs on torch alone; ``load_classifier`` is three lines and draws in no code of training."""
    out, _ = exported
    torch.save(trained[1][:3], tmp_path / "images.pt")
    code = f"""
import sys, torch
images = torch.load({str(tmp_path / "images.pt")!r})
program = torch.export.load({str(out / "classifier.pt2")!r}).module()(images / 255)
assert not any(name.startswith("lt_bench") for name in sys.modules)
from lt_bench.deploy.classifier import load_classifier
model = load_classifier({str(out)!r})
assert torch.allclose(model(images), program, atol=1e-4)
assert model([{str(photographs / "a.png")!r}, {str(photographs / "z.png")!r}]).shape == (2, 3)
unwanted = ("lightning", "torchmetrics", "wandb", "pandas", "pyarrow", "matplotlib", "rich", "jsonargparse", "yaml", *("lt_bench." + room for room in ("strategies", "engine", "bench", "features", "results", "metrics")))
print([name for name in sys.modules if name.startswith(unwanted)])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_to_a_table(exported, photographs, tmp_path):
    assert (
        main(["predict", str(exported[0]), str(photographs), "--out", str(tmp_path / "p.csv"), "--batch-size", "3", "--accelerator", "cpu"])
        == 0
    )
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["a.png", "b.JPG", "deep er/ü.webp", "z.png"]
    model = load_classifier(exported[0])
    for row in rows:
        with Image.open(photographs / row["path"]) as image:
            pixels = np.asarray(resized(image.convert("RGB"))).transpose(2, 0, 1).copy()
        with torch.inference_mode():
            probabilities = model(torch.from_numpy(pixels)[None]).softmax(1)[0]
        order = probabilities.argsort(descending=True)
        assert row["class"] == NAMES[order[0]]
        assert float(row["confidence"]) == pytest.approx(float(probabilities[order[0]]), abs=1e-5)
        assert [row["class_2"], row["class_3"]] == [NAMES[k] for k in order[1:]]
        assert "class_4" not in row


def test_an_opened_picture_and_its_file_have_the_same_logits(exported, tmp_path):
    """Turned by its EXIF orientation, and grey of 16 bits, in which Pillow's own conversion to RGB cuts everything above 255."""
    generator, exif, model = np.random.default_rng(0), Image.Exif(), load_classifier(exported[0])
    exif[0x0112] = 6
    Image.fromarray(generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(generator.integers(0, 65536, (40, 60)).astype(np.uint16)).save(tmp_path / "deep.png")
    paths = [tmp_path / name for name in ("turned.png", "deep.png")]
    with torch.inference_mode():
        for path in paths:
            with Image.open(path) as image:
                assert torch.equal(model(image), model(path))
                assert torch.equal(model([image, path]), model([path, image]))


def resized(image):
    """Shorter side 36, centre 32, in Pillow alone."""
    width, height = image.size
    size = (36, int(36 * height / width)) if width <= height else (int(36 * width / height), 36)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((image.width - 32) / 2), round((image.height - 32) / 2)
    return image.crop((left, top, left + 32, top + 32))


def test_broken_images_are_named(exported, photographs, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_bytes(b"nonsense")
    (tmp_path / "in" / "good.png").write_bytes((photographs / "a.png").read_bytes())
    command = ["predict", str(exported[0]), str(tmp_path / "in"), "--out", str(tmp_path / "p.csv"), "--accelerator", "cpu"]
    assert main(command) == 2
    assert "bad.png: not an image" in capsys.readouterr().err
    assert not (tmp_path / "p.csv").exists()
    assert main([*command, "--skip-broken"]) == 0
    assert "skipped" in capsys.readouterr().err
    assert (tmp_path / "p.csv").read_text().count("\n") == 2


@pytest.mark.parametrize("strategy", ["cosine", "disalign", "ncm"])
def test_heads_that_are_not_linear(strategy, trained, tmp_path):
    record = record_of(trained[0] / "cache", strategy, tmp_path / "results")
    arguments = ["--cache", str(trained[0] / "cache"), "--head-only", "--out", str(tmp_path / "out")]
    assert main(["export", "--record", str(record), *arguments]) == 0
    features = open_cache(trained[0] / "cache").split("test").view("plain")
    with torch.inference_mode():
        found = load_classifier(tmp_path / "out")(features).argmax(1).numpy()
    arrays = Store(tmp_path / "results").arrays(json.loads(record.read_text())["id"])
    assert np.array_equal(found, arrays["test_predictions"])


OWN_HEAD = '''
import torch
from lt_bench.strategies.joint import Joint


class Doubled(torch.nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.linear = linear

    def forward(self, features):
        return self.linear(features.relu() * 2)


class MyHead(Joint):
    """Mine.

    l_i = kernel(z_i).
    """

    name = "mine"

    def inference_head(self):
        return Doubled(super().inference_head())
'''


def test_a_head_of_ones_own_becomes_a_program(trained, tmp_path, monkeypatch, capsys):
    (tmp_path / "my_exported_head.py").write_text(OWN_HEAD)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert (
        main(
            [
                "run",
                "--strategy",
                "my_exported_head.MyHead",
                "--cache",
                str(trained[0] / "cache"),
                "--results",
                str(tmp_path / "r"),
                "--accelerator",
                "cpu",
            ]
        )
        == 0
    )
    record = Store(tmp_path / "r").paths()[0]
    capsys.readouterr()
    arguments = ["--cache", str(trained[0] / "cache"), "--weights", str(trained[0] / "w.safetensors"), "--out", str(tmp_path / "out")]
    assert main(["export", "--record", str(record), *arguments]) == 0
    assert "a program" in capsys.readouterr().out
    arrays = Store(tmp_path / "r").arrays(json.loads(record.read_text())["id"])
    with torch.inference_mode():
        found = load_classifier(tmp_path / "out", trust_program=True)(trained[1]).argmax(1).numpy()
    assert np.array_equal(found, arrays["test_predictions"])


def test_imported_embeddings_export_the_head_alone(small_cache, make_cache, tmp_path, capsys):
    cache = make_cache(tmp_path / "cache", transform={"evaluation": "imported features", "augmentation": ""})
    record = record_of(cache, "ncm", tmp_path / "results")
    assert main(["export", "--record", str(record), "--cache", str(cache), "--out", str(tmp_path / "out")]) == 0
    assert "head alone" in capsys.readouterr().out
    features = open_cache(cache).split("test").view("plain").numpy()
    np.savez(tmp_path / "new.npz", features=features)
    assert (
        main(["predict", str(tmp_path / "out"), str(tmp_path / "new.npz"), "--out", str(tmp_path / "p.csv"), "--accelerator", "cpu"]) == 0
    )
    arrays = Store(tmp_path / "results").arrays(json.loads(record.read_text())["id"])
    with (tmp_path / "p.csv").open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == [f"class {k}" for k in arrays["test_predictions"]]
    np.savez(tmp_path / "thin.npz", features=features[:, :3])
    assert main(["predict", str(tmp_path / "out"), str(tmp_path / "thin.npz"), "--out", str(tmp_path / "q.csv")]) == 2
    assert "expected (N, 8)" in capsys.readouterr().err


def test_what_a_user_can_get_wrong(exported, trained, tmp_path, capsys, monkeypatch):
    out, record = exported
    base = ["export", "--record", str(record), "--cache", str(trained[0] / "cache"), "--out", str(tmp_path / "out")]
    other = build_backbone("resnet20", 3)
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    (tmp_path / "full" / "classifier.pt2").write_text("of my own")
    for command, message in (
        (base, "export needs --weights FILE"),
        ([*base, "--weights", str(tmp_path / "other.safetensors")], "name the right file"),
        ([*base, "--weights", str(tmp_path / "none.pt")], "no such weights file"),
        ([*base[:-1], str(tmp_path / "full"), "--head-only"], "not of an earlier export and would be replaced"),
        (["export"], "export needs the JSON file of a record"),
        (["predict", str(tmp_path), str(tmp_path)], "not an exported classifier"),
        (["predict", str(out), str(tmp_path / "nowhere")], "no such folder or image"),
        (["predict", str(out), str(tmp_path / "full")], "no images there"),
    ):
        assert main(command) == 2, command
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main([*base, "--head-only", "--onnx"]) == 2
    assert "--onnx needs onnx, onnxscript, onnxruntime" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "full" / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "full" / "classifier.pt2").read_text() == "of my own"


def test_an_export_says_what_its_own_head_measured(exported, trained, tmp_path, monkeypatch, capsys):
    """On other hardware a fit may be another one by some images."""
    record = exported[1]
    real = exporting.refit

    def shifted(record, cache, by=0.001):
        fitted = real(record, cache)
        test = {name: value + by for name, value in fitted.record.metrics["test"].items()}
        return replace(fitted, record=replace(fitted.record, metrics=fitted.record.metrics | {"test": test}))

    monkeypatch.setattr(exporting, "refit", shifted)
    words = ["export", "--record", str(record), "--cache", str(trained[0] / "cache"), "--head-only", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    recorded = json.loads(record.read_text())["metrics"]["test"]
    said = json.loads((tmp_path / "out" / "classifier.json").read_text())["provenance"]["test"]
    assert said == {name: recorded[name] + 0.001 for name in ("accuracy", "macro_accuracy")}
    monkeypatch.setattr(exporting, "refit", lambda record, cache: shifted(record, cache, 0.01))
    capsys.readouterr()
    places = [shutil.copytree(place, tmp_path / name) for place, name in ((record.parent, "my records"), (trained[0] / "cache", "a cache"))]
    named = [str(places[0] / record.name), "--cache", str(places[1])]
    assert main(["export", "--record", *named, *words[5:-1], str(tmp_path / "other")]) == 2
    (advice,) = re.findall("see `([^`]*)`", capsys.readouterr().err)
    assert shlex.split(advice) == ["lt-bench", "verify", *named]


def test_the_words_that_made_a_cache_export_verify_and_update_it(exported, trained, tmp_path, monkeypatch):
    """Names of the hub, and a tag of open_clip, are no files."""
    out, record = exported
    monkeypatch.setattr(loading, "_hub_state", lambda name, weights: load_file(trained[0] / "w.safetensors"))
    words = ["--record", str(record), "--cache", str(trained[0] / "cache"), "--weights", "hub"]
    assert main(["export", *words, "--out", str(tmp_path / "out")]) == 0
    assert main(["verify", *words[1:]]) == 0
    preflight.update(UpdateOptions(export=out, data_dir=tmp_path, weights=Path("hub:V2"), results=tmp_path))
    require_weights("open_clip.ViT-B-32", Path("openai"))


@pytest.mark.slow
def test_onnx_gives_the_same_logits(exported, trained, tmp_path):
    import onnxruntime  # takes a second

    where = ["--cache", str(trained[0] / "cache"), "--weights", str(trained[0] / "w.safetensors"), "--out", str(tmp_path / "out")]
    assert main(["export", "--record", str(exported[1]), *where, "--onnx"]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "out" / "classifier.onnx", providers=["CPUExecutionProvider"])
    pixels = trained[1][:5].float() / 255
    (found,) = session.run(["logits"], {"input": pixels.numpy()})
    with torch.inference_mode():
        assert np.allclose(found, load_classifier(tmp_path / "out")(pixels).numpy(), atol=1e-4)


def test_a_damaged_export_is_named(exported, tmp_path, capsys):
    import shutil

    shutil.copytree(exported[0], tmp_path / "copy")
    (tmp_path / "copy" / "classifier.safetensors").write_bytes(b"cut")
    assert main(["predict", str(tmp_path / "copy"), str(tmp_path)]) == 2
    assert "a damaged export" in capsys.readouterr().err
