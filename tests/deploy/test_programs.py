"""Programs of an export: what other software makes of them, with ``classifier.json`` alone, is what ``predict`` writes."""

import csv
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import softmax
from torch import nn

from lt_bench.cli.main import main
from lt_bench.core.errors import UserError
from lt_bench.core.inference_heads import (
    KINDS,
    AllClasses,
    Averaged,
    ConfidenceHead,
    LinearAndCosine,
    Neighbours,
    NormalisedLinear,
    Quadratic,
    Standardised,
)
from lt_bench.core.shortlist_head import Shortlist
from lt_bench.deploy.programs import EXACT, save_onnx, save_program
from lt_bench.features.cache import open_cache
from lt_bench.results.store import Store

K, D = 6, 8


def heads():
    """A head of every kind, of logits as large as fitted ones have."""
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    generator = torch.Generator().manual_seed(0)
    rows = F.normalize(draw(50, D), dim=1)
    linear = nn.Linear(D, K)
    linear.load_state_dict({"weight": 3 * draw(K, D), "bias": draw(K)})
    kinds = {
        "linear": linear,
        "normalised_linear": NormalisedLinear(30 * draw(K, D), draw(K), draw(D).abs(), draw(D), power=0.5),
        "confidence": ConfidenceHead(3 * draw(K, D), draw(K), draw(K), draw(K), draw(D), draw(())),
        "linear_and_cosine": LinearAndCosine(3 * draw(K, D), draw(K), 3 * draw(K, D), draw(D), 0.5),
        "neighbours": Neighbours(rows, torch.arange(50) % K, draw(K).abs(), 7, 0.1),
        "quadratic": Quadratic(draw(K, D), draw(K), draw(K).abs(), draw(12, D), draw(12), torch.arange(12) % K, draw(D, D), draw(D), True),
        "shortlist": Shortlist(3 * draw(K, D), draw(K), draw(K), draw(K), draw(K).abs(), draw(4), 3),
        "averaged": Averaged([linear, NormalisedLinear(30 * draw(K, D), draw(K), draw(D).abs(), draw(D), power=0.5)]),
        "all_classes": AllClasses(linear, torch.arange(K) + 1, K + 2),
        "standardised": Standardised(linear, 100 * draw(D), draw(D).abs() + 0.1),
    }
    assert set(kinds) == {"linear", "averaged", "all_classes", "standardised", *KINDS}
    return {name: head.eval().requires_grad_(False) for name, head in kinds.items()}


HEADS = heads()


@pytest.mark.parametrize("kind", HEADS)
def test_every_kind_of_head_is_a_program_of_any_batch(kind, tmp_path):
    save_program(HEADS[kind], torch.rand(2, D), tmp_path / "x.pt2", 0.5)
    inputs = torch.randn(33, D, generator=torch.Generator().manual_seed(1))
    found = torch.export.load(tmp_path / "x.pt2").module()(inputs)
    assert torch.allclose(found.softmax(1), HEADS[kind](inputs).softmax(1), atol=EXACT, rtol=0)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=() if kind == "neighbours" else pytest.mark.slow) for kind in HEADS])
def test_every_kind_of_head_is_onnx_of_any_batch(kind, tmp_path):
    import onnxruntime  # takes a second

    save_onnx(HEADS[kind], torch.rand(2, D), tmp_path / "x.onnx", 0.5)
    inputs = torch.randn(33, D, generator=torch.Generator().manual_seed(1))
    (found,) = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"]).run(
        ["logits"], {"input": inputs.numpy()}
    )
    assert torch.allclose(torch.from_numpy(found).softmax(1), HEADS[kind](inputs).softmax(1), atol=EXACT, rtol=0)


class Branches(nn.Module):
    """A head that no program can be: it looks at its numbers."""

    def forward(self, features):
        return features * 2 if float(features.sum()) > 0 else features


class Noise(nn.Module):
    """A head that never gives the same."""

    def forward(self, features):
        return features + torch.rand(features.shape)


def test_what_cannot_be_a_program_is_one_line(tmp_path):
    for save, form in ((save_program, "a program of torch.export"), (save_onnx, "ONNX")):
        with pytest.raises(UserError, match=rf"cannot be written as {form} .*; nothing was written"):
            save(Branches(), torch.rand(2, D), tmp_path / "x", 1.0)
    with pytest.raises(
        UserError, match=r"a probability of the torch.export program differs from the network's by 0\.\d+; nothing was written"
    ):
        save_program(Noise(), torch.rand(2, D), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_onnx_and_the_contract_give_what_predict_writes(make_cache, tmp_path):
    """With ONNX Runtime, NumPy and the description alone; as it is, and under priors."""
    import onnxruntime

    cache = make_cache(tmp_path / "cache", transform={"evaluation": "imported features", "augmentation": ""})
    where = ["--cache", str(cache)]
    assert (
        main(["run", "--strategy", "cosine", "--strategy.epochs", "2", *where, "--results", str(tmp_path / "r"), "--accelerator", "cpu"])
        == 0
    )
    (record,) = Store(tmp_path / "r").paths()
    assert main(["export", "--record", str(record), *where, "--out", str(tmp_path / "out"), "--onnx"]) == 0
    features = open_cache(cache).split("test").view("plain").numpy()
    np.savez(tmp_path / "x.npz", features=features)
    told = json.loads((tmp_path / "out" / "classifier.json").read_text())
    session = onnxruntime.InferenceSession(tmp_path / "out" / "classifier.onnx", providers=["CPUExecutionProvider"])
    logits = session.run([told["contract"]["output"]["name"]], {told["contract"]["input"]["name"]: features})[0].astype(np.float64)
    own = told["calibration"]
    assert told["contract"]["probabilities"] == "softmax(logits / calibration.temperature)"
    corrected = logits / own["bias_corrected"]["temperature"] + own["bias_corrected"]["shift"] - np.log(own["prior"])
    counts = np.array(told["provenance"]["train_counts"])
    for words, expected in (
        ([], logits / own["temperature"]),
        (["--prior", "uniform"], corrected),
        (["--prior", "training"], corrected + np.log(counts / counts.sum())),
    ):
        line = ["predict", str(tmp_path / "out"), str(tmp_path / "x.npz"), "--all-probabilities", "--out", str(tmp_path / "p.csv"), *words]
        assert main([*line, "--accelerator", "cpu"]) == 0
        with (tmp_path / "p.csv").open(newline="") as file:
            written = [[float(row[f"probability_{name}"]) for name in told["class_names"]] for row in csv.DictReader(file)]
        assert np.abs(softmax(expected, axis=1) - written).max() < EXACT
