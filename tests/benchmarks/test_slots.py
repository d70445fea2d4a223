"""Effects of the slots: of cells that are known, and of a small design that the suite runs."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from benchmarks import slots
from lt_bench.results.store import Store

DESIGN = """
caches: [{cache: small}]
strategies:
  - name: compose
    epochs: 1
    axes:
      target: [one_hot, smooth(0.5)]
      transform: [identity, log_prior(1.0)]
      sampler: [instance, class_aware]
seeds: [0, 1]
"""


def test_sums_of_squares_belong_to_the_effects_that_made_them():
    target, sampler = np.array([0.0, 4.0]), np.array([0.0, 1.0, 5.0])
    added = np.broadcast_to(target[:, None, None] + sampler, (2, 3, 3))
    of = slots.shares(added)
    assert of["target"] + of["sampler"] == pytest.approx(1)
    assert of["target"] == pytest.approx(target.var() / (target.var() + sampler.var()))
    crossed = np.zeros((2, 2, 2))
    crossed[0, 0], crossed[1, 1] = 1, 1
    assert slots.shares(crossed)["target x transform"] == pytest.approx(1)


def test_the_command_gives_the_effects_of_a_small_design(cli, small_cache, tmp_path, monkeypatch):
    (tmp_path / "design.yaml").write_text(DESIGN)
    assert cli("bench", "design.yaml", "--accelerator", "cpu").err == ""
    monkeypatch.setattr("sys.argv", ["slots.py", "--results", "results", "--out", "effects"])
    slots.main()
    cells = list(csv.DictReader((tmp_path / "effects.csv").open()))
    assert len(cells) == 8
    design = slots.study(slots.load_records(tmp_path / "results"))
    accuracies = {level: [] for level in design.levels[0]}
    for record in Store(tmp_path / "results").records():
        accuracies[record.identity.hyperparameters["target"]].append(record.metrics["test"]["accuracy"])
    one_hot, smooth = accuracies.values()
    assert (len(one_hot), len(smooth)) == (8, 8)
    effect, _, _ = design.contrast(slots.weights_of((2, 2, 2), {0: slots.difference(2, 1)}))
    assert effect == pytest.approx(100 * (np.mean(smooth) - np.mean(one_hot)), abs=1e-3)
    assert f"{effect:+.2f}" in (tmp_path / "effects.md").read_text()
