"""The accuracy of exports, counted by a script that knows nothing of the package, is that of their records image for image."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from photos import photo, write_photos

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.deploy.classifier import load_classifier
from lt_bench.features.cache import open_cache
from lt_bench.results.store import Store
from tests.deploy.test_calibration import exported as calibrated  # noqa: F401

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "count_predictions.py"
CPU = ("--accelerator", "cpu")


def counted(*paths):
    done = subprocess.run([sys.executable, SCRIPT, *map(str, paths)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_embeddings(calibrated, cli, tmp_path):  # noqa: F811
    out, cache = calibrated
    (record,) = Store(out.parent / "results").paths()
    test = cache.split("test")
    np.savez(tmp_path / "test.npz", features=test.view("plain").numpy(), labels=test.labels.numpy())
    assert cli("predict", str(out), "test.npz", "--out", "p.csv", *CPU).code == 0
    code, said = counted(record, tmp_path / "p.csv", tmp_path / "test.npz")
    assert (code, said.rstrip()[-8:]) == (0, "the same")
    table = pd.read_csv(tmp_path / "p.csv")
    table.loc[0, "class"] = "class 0" if table.loc[0, "class"] != "class 0" else "class 1"
    table.to_csv(tmp_path / "q.csv", index=False)
    assert counted(record, tmp_path / "q.csv", tmp_path / "test.npz")[0] == 1


@pytest.mark.parametrize("onnx", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_embeddings_as_clip_has_them(onnx, cli, tmp_path):
    """512 dimensions, rows of length 1, standardised in the cache: `predict` takes them as they are, as the programs for other software do."""
    rng, arguments = np.random.default_rng(0), []
    centres = rng.normal(size=(5, 512))
    for split, counts in (("train", [90, 40, 20, 10, 5]), ("val", [10] * 5), ("test", [120] * 5)):
        labels = np.repeat(np.arange(5), counts)
        rows = 0.08 * centres[labels] + rng.normal(size=(len(labels), 512))
        features = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        np.savez(tmp_path / f"{split}.npz", features=features, labels=labels)
        arguments += [f"--{split}", f"{split}.npz"]
    assert cli("import-features", "--name", "clip", *arguments, "--stage1-head", "fit", "--standardise", "--out", "clip").code == 0
    assert cli("run", "--strategy", "lda", "--cache", "clip", *CPU).code == 0
    (record,) = Store(tmp_path / "results").paths()
    assert cli("export", "--record", str(record), "--cache", "clip", "--out", "export", *(["--onnx"] if onnx else [])).code == 0
    assert cli("predict", "export", "test.npz", "--out", "p.csv", *CPU).code == 0
    logits = by_programs(tmp_path / "export", torch.from_numpy(np.load(tmp_path / "test.npz")["features"]))
    assert len(logits) == 1 + onnx
    for place, of_program in enumerate(logits):
        write_predictions(tmp_path / f"{place}.csv", range(600), [str(k) for k in range(5)], of_program)
    for file in ("p.csv", "0.csv", "1.csv")[: 2 + onnx]:
        code, said = counted(record, tmp_path / file, tmp_path / "test.npz")
        assert (code, said.rstrip()[-8:]) == (0, "the same"), said


def by_programs(export, inputs):
    """Logits by torch.export and, where there is one, ONNX Runtime."""
    logits = [torch.export.load(export / "classifier.pt2").module()(inputs).detach().numpy()]
    if (export / "classifier.onnx").is_file():
        import onnxruntime

        session = onnxruntime.InferenceSession(export / "classifier.onnx", providers=["CPUExecutionProvider"])
        logits += session.run(["logits"], {"input": inputs.numpy()})
    return logits


def write_predictions(path, rows, classes, logits):
    pd.DataFrame({"path": list(rows), "class": [classes[k] for k in logits.argmax(1)]}).to_csv(path, index=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "table", "parquet"])
def test_images(kind, cli, tmp_path, monkeypatch):
    """Also by ONNX Runtime and torch.export on the images as the export prepares them."""
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    torch.manual_seed(0)
    save_weights(build_backbone("resnet20", 3), tmp_path / "w.safetensors")
    images, weights = tmp_path / "photos", ("--weights", str(tmp_path / "w.safetensors"))
    source = images if kind == "folder" else tmp_path / f"t.{'csv' if kind == 'table' else 'parquet'}"
    if kind == "parquet":
        rows = []
        for i in range(60):
            photo(i).save(tmp_path / "one.png")
            rows.append({"image": {"bytes": (tmp_path / "one.png").read_bytes()}, "label": i % 3})
        pd.DataFrame(rows).to_parquet(source)
        images.mkdir()
        for row in rows:
            content = row["image"]["bytes"]
            (images / f"{hashlib.sha256(content).hexdigest()}.png").write_bytes(content)
    else:
        write_photos(images, {"a": 30, "b": 20, "c": 10})
        listed = [(path.relative_to(tmp_path).as_posix(), path.parent.name) for path in sorted(images.rglob("*.png"))]
        pd.DataFrame(listed, columns=pd.Index(["path", "label"])).to_csv(tmp_path / "t.csv", index=False)
    dataset = "folder" if kind == "folder" else "table"
    assert (
        cli("run", "--strategy", "ncm", "--dataset", dataset, "--data-dir", str(source), "--backbone", "resnet20", *weights, *CPU).code == 0
    )
    (record,), (cache,) = Store(tmp_path / "results").paths(), (tmp_path / "home" / "caches").iterdir()
    assert cli("export", "--record", str(record), "--out", "export", "--onnx", *weights).code == 0
    inputs = tmp_path if kind == "table" else images  # a table's paths are relative to its folder
    assert cli("predict", "export", str(inputs), "--out", "p.csv", "--skip-broken", *CPU).code == 0
    code, said = counted(record, tmp_path / "p.csv", cache / "images.csv")
    assert code == 0, said
    model = load_classifier(tmp_path / "export")
    paths = sorted(images.rglob("*.png"))
    prepared, names = model.prepare(paths).float() / 255, [path.relative_to(inputs).as_posix() for path in paths]
    for logits in by_programs(tmp_path / "export", prepared):
        write_predictions(tmp_path / "q.csv", names, model.classes, logits)
        code, said = counted(record, tmp_path / "q.csv", cache / "images.csv")
        assert code == 0, said
    assert len(open_cache(cache).split("test")) > 5
