import csv
import sys

import pytest
from extracting import extract_from
from small_image_files import write_cifar10

from benchmarks import freezing
from lt_bench.backbones.weights import save_weights
from lt_bench.bench.pretrain import fresh_network
from lt_bench.results.store import Store

pytestmark = pytest.mark.usefixtures("light_resnet20")


@pytest.mark.slow
def test_frozen_and_fresh_features_stand_side_by_side(tmp_path, monkeypatch):
    data = write_cifar10(tmp_path / "data" / "cifar10", n_max=6).parent
    weights, cache, out = tmp_path / "w.safetensors", tmp_path / "cache", tmp_path / "out" / "freezing"
    save_weights(fresh_network("resnet20", 10, 3), weights)
    extract_from(
        dataset="cifar10_lt", data_dir=data, backbone="resnet20", weights=weights, out=cache, imbalance_factor=2, views=1, accelerator="cpu", progress=False,
    )  # fmt: skip
    given = {
        "dataset": "cifar10_lt", "imbalance-factor": 2, "data-dir": data, "backbone": "resnet20", "weights": weights, "cache": f"{cache}/", "precision": "fp32",
        "results": tmp_path / "results", "out": out, "strategies": "ce", "seeds": "0,1", "accelerator": "cpu",
    }  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["freezing.py", *(f"--{name}={value}" for name, value in given.items())])
    freezing.main()
    rows = list(csv.DictReader(out.with_name("freezing.csv").open()))
    assert [(row["protocol"], row["seed"]) for row in rows] == [(protocol, seed) for protocol in freezing.PROTOCOLS for seed in "01"]
    records = {record.id: record for record in Store(tmp_path / "results").records()}
    for row in rows:
        record = records.pop(row["record"])
        assert (record.identity.protocol, record.identity.strategy) == (row["protocol"], "ce")
        assert float(row["Accuracy"]) == pytest.approx(100 * record.metrics["test"]["accuracy"], abs=1e-4)
    assert not records
    text = out.with_name("freezing.md").read_text()
    for protocol in freezing.PROTOCOLS:
        pair = [float(row["Accuracy"]) for row in rows if row["protocol"] == protocol]
        assert f"| ce | {protocol} | {sum(pair) / 2:.2f} ± " in text
