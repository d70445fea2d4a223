"""``lt-bench evaluate`` against counts of the table that ``predict`` writes, and ``predict`` under a prior."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.special import softmax

from lt_bench.cli.main import main
from lt_bench.deploy.classifier import load_classifier
from lt_bench.leaderboard.stats.shares import exact_interval
from tests.deploy.test_calibration import exported as calibrated  # noqa: F401
from tests.deploy.test_export import NAMES, exported, trained  # noqa: F401

CPU = ("--accelerator", "cpu")


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def labelled(trained, tmp_path):  # noqa: F811
    """The test pictures in class folders, as files."""
    for i, pixels in enumerate(trained[1]):
        folder = tmp_path / "labelled" / NAMES[i // 5]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((36, 36)).save(folder / f"{i}.png")
    return tmp_path / "labelled"


def evaluated(capsys, *words):
    capsys.readouterr()
    assert main(["evaluate", *map(str, words), *CPU, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_counts_are_those_of_predict(exported, labelled, tmp_path, capsys):  # noqa: F811
    assert main(["predict", str(exported[0]), str(labelled), "--out", str(tmp_path / "p.csv"), *CPU]) == 0
    rows = table(tmp_path / "p.csv")
    right = {name: sum(row["class"] == name for row in rows if row["path"].split("/")[0] == name) for name in NAMES}
    found = evaluated(capsys, exported[0], labelled)
    assert (found["images"], found["correct"]) == (15, sum(right.values()))
    assert found["macro_accuracy"] == pytest.approx(sum(right.values()) / 15)
    assert {one["class"]: (one["images"], one["correct"]) for one in found["classes"]} == {name: (5, right[name]) for name in NAMES}
    assert [one["predicted"] for one in found["classes"]] == [sum(row["class"] == name for row in rows) for name in NAMES]
    assert found["groups"]["few"] == pytest.approx(sum(right.values()) / 15)
    listed = [(path.relative_to(tmp_path).as_posix(), path.parent.name) for path in sorted(labelled.rglob("*.png"))]
    pd.DataFrame(listed, columns=["path", "label"]).to_csv(tmp_path / "t.csv", index=False)
    pd.DataFrame(listed, columns=["path", "label"]).to_csv(tmp_path / "s.csv", index=False, sep=";")  # as spreadsheets write it
    encoded = [{"bytes": (tmp_path / path).read_bytes()} for path, _ in listed]
    pd.DataFrame({"image": encoded, "label": [NAMES.index(name) for _, name in listed]}).to_parquet(tmp_path / "t.parquet")
    for source in ("t.csv", "s.csv", "t.parquet"):
        assert evaluated(capsys, exported[0], tmp_path / source)["classes"] == found["classes"]
        assert main(["predict", str(exported[0]), str(tmp_path / source), "--out", str(tmp_path / "p.csv"), *CPU]) == 0
        again = table(tmp_path / "p.csv")
        assert [row["class"] for row in again] == [row["class"] for row in rows]
        assert again[0]["path"] == ("row 1" if source == "t.parquet" else listed[0][0])


def test_features_under_every_prior(calibrated, tmp_path, capsys):  # noqa: F811
    out, cache = calibrated
    split, model = cache.split("test"), load_classifier(out)
    labels = split.labels.numpy()
    np.savez(tmp_path / "x.npz", features=split.view("plain").numpy(), labels=labels)
    (tmp_path / "prior.json").write_text(json.dumps({name: k + 1 for k, name in enumerate(model.classes)}))
    estimate = model.estimate_prior(split.view("plain"))
    logits, calibration = model(split.view("plain")).double().numpy(), model.calibration
    for words, prior in (
        ("uniform", np.ones(6)),
        ("training", np.array(cache.manifest.dataset.train_counts)),
        (tmp_path / "prior.json", np.arange(1.0, 7)),
        ("estimate", estimate.shares.numpy()),
    ):
        options = ["--prior", str(words), *CPU]
        where = [str(out), str(tmp_path / "x.npz")]
        assert main(["predict", *where, "--out", str(tmp_path / "p.csv"), "--all-probabilities", *options]) == 0
        rows = table(tmp_path / "p.csv")
        corrected = logits * calibration.scale + calibration.shift.numpy()
        expected = softmax(corrected - np.log(calibration.prior.numpy()) + np.log(prior / prior.sum()), axis=1)
        written = np.array([[float(row[f"probability_{name}"]) for name in model.classes] for row in rows])
        assert np.allclose(written, expected, rtol=1e-4, atol=1e-6)
        found = evaluated(capsys, *where, "--prior", words)
        assert found["correct"] == sum(row["class"] == model.classes[k] for row, k in zip(rows, labels, strict=True))
        assert np.allclose(found["prior"], prior / prior.sum())
        assert found["calibration_error"]["after"] == pytest.approx(error_of(expected, labels), abs=1e-9)
    found = evaluated(capsys, *where)
    assert found["calibration_error"]["before"] == pytest.approx(error_of(softmax(logits, axis=1), labels), abs=1e-6)
    assert found["prior"] is None


def error_of(probabilities, labels, bins=15):
    """Expected calibration error, bin by bin."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    inside = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return sum(abs(right[inside == b].sum() - confidence[inside == b].sum()) for b in range(bins)) / len(labels)


def test_what_a_user_can_get_wrong(exported, calibrated, labelled, tmp_path, capsys):  # noqa: F811
    out = str(exported[0])
    np.savez(tmp_path / "bare.npz", features=np.zeros((2, 8), np.float32))
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "a.png").write_bytes(next(labelled.rglob("*.png")).read_bytes())
    (tmp_path / "t.csv").write_text("path,name\na.png,owl\n")
    for command, message in (
        (["evaluate", out], "evaluate needs an export and labelled inputs"),
        (["evaluate", out, str(tmp_path / "loose")], "lies in no class folder"),
        (
            ["evaluate", out, str(labelled.parent)],
            "2 labels are no class of the export: 'labelled' (15 inputs), 'loose' (1 input); rename them",
        ),
        (["evaluate", out, str(tmp_path / "t.csv")], "no column label"),
        (["evaluate", str(calibrated[0]), str(tmp_path / "bare.npz")], "needs an array 'labels'"),
        (["evaluate", out, str(labelled), "--prior", "estimate"], "not calibrated"),
        (["evaluate", out, str(labelled), "--prior", "uniform"], "state the prior"),
        (["evaluate", out, str(labelled), "--assumed-prior", "uniform"], "--assumed-prior is for --prior"),
        (["evaluate", str(calibrated[0]), str(tmp_path / "bare.npz"), "--prior", str(tmp_path / "none.csv")], "none.csv"),
    ):
        capsys.readouterr()
        assert main([*command, *CPU]) == 2, command
        error = capsys.readouterr().err
        assert message in error, error
        assert len([line for line in error.splitlines() if "since they are no images by their names" not in line]) == 1
    assert (
        main(["predict", out, str(labelled), "--out", str(tmp_path / "p.csv"), "--prior", "uniform", "--assumed-prior", "uniform", *CPU])
        == 0
    )
    (labelled / "owl" / "bad.png").write_bytes(b"nonsense")
    found = evaluated(capsys, out, labelled, "--skip-broken")
    assert found["images"] == 15
    pd.DataFrame({"path": ["gone.png"], "label": ["owl"]}).to_csv(tmp_path / "gone.csv", index=False)
    assert main(["evaluate", out, str(tmp_path / "gone.csv"), *CPU]) == 2
    assert "gone.png" in capsys.readouterr().err


def test_classes_that_the_export_does_not_know_are_all_named_or_left_out(exported, calibrated, labelled, tmp_path, capsys):  # noqa: F811
    before = evaluated(capsys, exported[0], labelled)
    assert before["left_out"] == {}
    picture = next(labelled.rglob("*.png")).read_bytes()
    for name, count in (("heron", 1), ("owls", 3)):
        (labelled / name).mkdir()
        for i in range(count):
            (labelled / name / f"{i}.png").write_bytes(picture)
    capsys.readouterr()
    assert main(["evaluate", str(exported[0]), str(labelled), *CPU]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "2 labels are no class of the export: 'owls' (3 inputs) (did you mean 'owl'?), 'heron' (1 input);" in line
    assert "--skip-unknown" in line
    assert main(["evaluate", str(exported[0]), str(labelled), "--skip-unknown", *CPU]) == 0
    assert (
        "left out 4 inputs of 2 classes that the export does not know, each of which it would get wrong: owls 3, heron 1"
        in capsys.readouterr().err
    )
    assert evaluated(capsys, exported[0], labelled, "--skip-unknown") == before | {"left_out": {"owls": 3, "heron": 1}}
    out, cache = calibrated
    split, names = cache.split("test"), np.array(load_classifier(out).classes)
    features, labels = split.view("plain").numpy(), split.labels.numpy()
    new = np.arange(len(labels)) % 3 == 0
    np.savez(tmp_path / "known.npz", features=features[~new], labels=labels[~new])
    np.savez(tmp_path / "all.npz", features=features, labels=np.where(new, "heron", names[labels]))
    known, everything = (evaluated(capsys, out, tmp_path / f"{name}.npz", "--skip-unknown") for name in ("known", "all"))
    assert everything == known | {"left_out": {"heron": int(new.sum())}}
    np.savez(tmp_path / "numbers.npz", features=features, labels=np.where(new, -1, labels))
    assert main(["evaluate", str(out), str(tmp_path / "numbers.npz"), *CPU]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"1 label is no class of the export: '-1' ({new.sum()} inputs); numbers of classes are 0 to {len(names) - 1}; rename" in line
    assert evaluated(capsys, out, tmp_path / "numbers.npz", "--skip-unknown") == known | {"left_out": {"-1": int(new.sum())}}
    np.savez(tmp_path / "new.npz", features=features, labels=np.full(len(labels), "heron"))
    assert main(["evaluate", str(out), str(tmp_path / "new.npz"), "--skip-unknown", *CPU]) == 2
    assert "1 label is no class of the export: 'heron'" in capsys.readouterr().err


def test_intervals_and_the_classes_that_macro_is_of_are_said(calibrated, tmp_path, capsys):  # noqa: F811
    out, cache = calibrated
    split, model = cache.split("test"), load_classifier(out)
    labels = split.labels.numpy()
    for name, rows in (("all", labels >= 0), ("one", labels == 2)):
        np.savez(tmp_path / f"{name}.npz", features=split.view("plain").numpy()[rows], labels=np.array(model.classes)[labels[rows]])
    found = evaluated(capsys, out, tmp_path / "all.npz")
    low, high = exact_interval(found["accuracy"], found["images"])
    assert found["intervals"]["accuracy"] == pytest.approx([float(low), float(high)])
    for name, said in (("all", ""), ("one", " of 1 class of 6, the others have no input")):
        found = evaluated(capsys, out, tmp_path / f"{name}.npz")
        assert main(["evaluate", str(out), str(tmp_path / f"{name}.npz"), *CPU]) == 0
        first, *_, last = capsys.readouterr().out.splitlines()
        low, high = (100 * end for end in found["intervals"]["macro_accuracy"])
        assert f"macro {found['macro_accuracy']:.1%}{said} ({low:.1f} to {high:.1f}); 95 % intervals over images" in first
        assert f"difference {100 * (found['calibration_error']['after'] - found['calibration_error']['before']):+.2f} points (" in last


def test_groups_of_a_table_are_the_sample(exported, labelled, tmp_path, capsys):  # noqa: F811
    paths = sorted(labelled.rglob("*.png"))
    listed = [(path.relative_to(tmp_path).as_posix(), path.parent.name, f"track {i // 3}") for i, path in enumerate(paths)]
    pd.DataFrame(listed, columns=["path", "label", "track"]).to_csv(tmp_path / "t.csv", index=False)
    alone = evaluated(capsys, exported[0], tmp_path / "t.csv")
    together = evaluated(capsys, exported[0], tmp_path / "t.csv", "--group-column", "track")
    assert (alone["groups_of_inputs"], together["groups_of_inputs"]) == (None, 5)
    assert together["accuracy"] == alone["accuracy"]
    (low, high), (wide_low, wide_high) = alone["intervals"]["accuracy"], together["intervals"]["accuracy"]
    assert wide_high - wide_low > high - low
    assert main(["evaluate", str(exported[0]), str(tmp_path / "t.csv"), "--group-column", "track", *CPU]) == 0
    assert "95 % intervals over 5 groups of images" in capsys.readouterr().out
    for where, column, message in (
        (labelled, "track", "--group-column names a column of a table"),
        (tmp_path / "t.csv", "site", "no column site"),
    ):
        assert main(["evaluate", str(exported[0]), str(where), "--group-column", column, *CPU]) == 2
        assert message in capsys.readouterr().err


def test_an_estimated_prior_is_said_beside_training_with_its_doubts(calibrated, tmp_path, capsys):  # noqa: F811
    out, cache = calibrated
    split, model = cache.split("test"), load_classifier(out)
    features, labels = split.view("plain").numpy()[:30], split.labels.numpy()[:30]
    np.savez(tmp_path / "x.npz", features=features, labels=labels)
    estimate = model.estimate_prior(torch.from_numpy(features))
    k = int(estimate.shares.argmax())
    counts = np.array(cache.manifest.dataset.train_counts)
    assert any("30 inputs can say little" in doubt for doubt in estimate.doubts)
    where = [str(out), str(tmp_path / "x.npz"), "--prior", "estimate", *CPU]
    for command in (["predict", *where, "--out", str(tmp_path / "p.csv")], ["evaluate", *where]):
        capsys.readouterr()
        assert main(command) == 0
        said = capsys.readouterr().err
        assert f"the largest shares: {model.classes[k]} {estimate.shares[k]:.1%} (training {counts[k] / counts.sum():.1%}" in said
        assert all(f"lt-bench: estimated prior: {doubt}\n" in said for doubt in estimate.doubts)
    assert evaluated(capsys, *where[:-2])["prior_doubts"] == list(estimate.doubts)
