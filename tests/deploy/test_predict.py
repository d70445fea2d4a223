"""Predictions of an export for a file of features."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from photos import write_photos

from lt_bench.cli.main import main
from lt_bench.core.errors import UserError
from lt_bench.deploy import decisions, inputs
from lt_bench.deploy.classifier import load_classifier
from lt_bench.deploy.decisions import class_sets, thresholds
from lt_bench.deploy.files import publish
from tests.deploy.test_calibration import exported as calibrated  # noqa: F401
from tests.deploy.test_files import FEATURES, described, staged


def test_files_that_are_not_classified_are_counted(tmp_path, capsys, monkeypatch):
    root = write_photos(tmp_path / "images", {"a": 2})
    for name in ("list.csv", "a/phone.heic"):
        (root / name).write_text("x")
    monkeypatch.setattr(inputs, "EXTENSIONS", inputs.EXTENSIONS - inputs.HEIF)
    assert [path.name for path in inputs.image_paths(root)] == ["0.png", "1.png"]
    said = capsys.readouterr().err
    assert "not classified, since they are no images by their names: 2 files: a/phone.heic, list.csv; HEIC images are read after" in said
    assert "lt-bench[heif]" in said
    np.savez(tmp_path / "x.npz", features=FEATURES.numpy())
    with pytest.raises(UserError, match="takes images, not arrays of features"):
        inputs.image_paths(tmp_path / "x.npz")


def test_a_class_folder_that_cannot_be_read_is_not_left_out(tmp_path, close):
    root = write_photos(tmp_path / "images", {"a": 2, "b": 2})
    close(root / "b")
    with pytest.raises(UserError, match=r"images/b: cannot be read \(Permission denied\); allow reading it"):
        inputs.image_paths(root)


def test_a_table_that_cannot_be_written_is_refused_before_anything_is_classified(tmp_path, capsys, close, monkeypatch):
    publish(tmp_path / "export", staged(tmp_path / "new"), described())
    np.savez(tmp_path / "x.npz", features=FEATURES.numpy())
    (tmp_path / "closed").mkdir()
    monkeypatch.chdir(close(tmp_path / "closed", 0o555))
    monkeypatch.setattr("lt_bench.deploy.predict.opened", lambda _: pytest.fail("the classifier was loaded"))
    assert main(["predict", str(tmp_path / "export"), str(tmp_path / "x.npz")]) == 2
    assert capsys.readouterr().err == "lt-bench: predictions.csv: cannot be written (Permission denied); choose another place with --out\n"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named_and_nothing_is_written(value, tmp_path, capsys):
    publish(tmp_path / "export", staged(tmp_path / "new"), described())
    features = FEATURES.numpy().copy()
    features[[1, 3], 2] = value
    np.savez(tmp_path / "x.npz", features=features)
    words = ["predict", str(tmp_path / "export"), str(tmp_path / "x.npz"), "--out", str(tmp_path / "out.csv")]
    assert main(words) == 2
    assert capsys.readouterr().err.rstrip().endswith("NaN or infinity in 2 rows, the first is row 1; mend or leave out these rows")
    assert not (tmp_path / "out.csv").exists()
    np.savez(tmp_path / "x.npz", features=FEATURES.numpy())
    assert main(words) == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 6
    assert main(words) == 0
    (tmp_path / "out.csv").write_text("image,class\n")
    assert main(words) == 2
    assert "out.csv: not a file that lt-bench wrote" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text() == "image,class\n"


def test_decisions_are_columns_and_classes_without_them_are_named(calibrated, tmp_path, capsys, monkeypatch):  # noqa: F811
    """As `thresholds` and `class_sets` make them under the prior that is in force."""
    monkeypatch.setattr(decisions, "FEWEST", 4)
    out, cache = calibrated
    model, features = load_classifier(out), cache.split("test").view("plain")
    np.savez(tmp_path / "x.npz", features=features.numpy())
    words = ["predict", str(out), str(tmp_path / "x.npz"), "--out", str(tmp_path / "p.csv"), "--accelerator", "cpu"]
    assert main([*words, "--precision", "0.6", "--coverage", "0.8", "--prior", "uniform"]) == 0
    said = capsys.readouterr().err
    model.set_prior("uniform")
    with torch.inference_mode():
        probabilities = model.probabilities(model(features))
    limits, sets = thresholds(model, 0.6), class_sets(model, 0.8)
    written = pd.read_csv(tmp_path / "p.csv")
    decided = limits.decided(probabilities) >= 0
    assert 0 < int(decided.sum()) < len(decided)
    assert written["decided"].tolist() == ["yes" if one else "no" for one in decided]
    within = [[model.classes[k] for k in row.nonzero().flatten()] for row in sets.sets(probabilities)]
    assert [json.loads(cell) for cell in written["set"]] == within
    few = [name for name, one in zip(model.classes, limits.too_few, strict=True) if one]
    assert f"{len(few)} of 6 classes: no threshold, fewer than 4 validation images are predicted to be of them" in said
    assert "1 of 6 classes: too few validation images for the coverage, so they are in every set: class 5" in said
    assert main([*words, "--coverage", "0.8"]) == 0
    assert "decided" not in pd.read_csv(tmp_path / "p.csv")
    capsys.readouterr()
    assert main([*words, "--precision", "90"]) == 2
    assert "--precision is 90, expected a share above 0 and at most 1" in capsys.readouterr().err
    publish(tmp_path / "plain", staged(tmp_path / "new"), described())
    np.savez(tmp_path / "y.npz", features=FEATURES.numpy())
    assert main(["predict", str(tmp_path / "plain"), str(tmp_path / "y.npz"), "--precision", "0.9", "--out", str(tmp_path / "q.csv")]) == 2
    assert "not calibrated" in capsys.readouterr().err
    assert not (tmp_path / "q.csv").exists()
