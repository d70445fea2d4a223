"""Pairs of frozen and trained networks, from a table whose differences are known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import freezing_weights
from benchmarks.evidence.rows import read_rows


def _line(
    strategy: str, mode: str, accuracy: list[float], phase1: str | None = None, recipe: str = "own", tuning: str = "official"
) -> dict[str, Any]:
    metrics = dict.fromkeys((f"test/{name}" for name in freezing_weights.GROUPS), float(np.mean(accuracy)))
    given = json.dumps({"phase1": phase1, "stage1_recipe": recipe})
    return metrics | {
        "strategy": strategy, "mode": mode, "hyperparameters": given, "tuning": tuning, "cache_name": freezing_weights.FROZEN if mode == "head" else "images",
        "class_accuracy": np.array(accuracy, np.float32), "n_test": 400,
        "dataset": "cifar100_lt", "backbone": "resnet32",
    }  # fmt: skip


_, EPOCH_100, EPOCH_130, _ = freezing_weights.BEGUN
ROWS = pd.DataFrame(
    [
        _line("d_ffds", "end-to-end", [0.4, 0.6], EPOCH_130),
        _line("ib", "end-to-end", [0.5, 0.7], f"{EPOCH_100} with its classifier", "ib"),
        _line("ib", "end-to-end", [0.1, 0.1], EPOCH_100, "ldam"),  # the schedule of another loss
        _line("cb", "end-to-end", [0.5, 0.7], EPOCH_100, "ib"),  # without a frozen head
        _line("ldam_drw", "end-to-end", [0.5, 0.7], None, "ldam"),  # from fresh weights
        _line("ldam_drw", "end-to-end", [0.1, 0.1], "another network", "ldam"),
        _line("d_ffds", "head", [0.3, 0.5]),
        _line("d_ffds", "head", [0.5, 0.5]),
        _line("d_ffds", "head", [0.9, 0.9], tuning="user"),
        _line("d_ffds", "head", [0.9, 0.9], tuning="tuned"),
        _line("ib", "head", [0.7, 0.7]),
        _line("ldam_drw", "head", [0.5, 0.6]),
        _line("joint", "head", [0.5, 0.4]),
        _line("logit_adjustment", "head", [0.5, 0.5]),
    ]
)


def test_a_pair_is_of_one_strategy_with_its_own_settings_and_schedule():
    pairs = freezing_weights.pairs_of(ROWS)
    assert [(pair.strategy, pair.epoch, len(pair.frozen)) for pair in pairs] == [("ldam_drw", 0, 1), ("ib", 100, 1), ("d_ffds", 130, 2)]
    expected = ([0, -10], [20, 0], [0, -10])
    assert [pair.by_class for pair in pairs] == [pytest.approx(one, abs=1e-4) for one in expected]
    assert [pair.difference("accuracy") for pair in pairs] == pytest.approx([-5, 10, -5], abs=1e-4)
    ib = pairs[1]
    variance = sum(p * (1 - p) / 200 for p in (0.7, 0.7, 0.5, 0.7)) / 2**2  # of two classes with 200 images each, frozen and trained
    assert ib.over_images == pytest.approx(100 * 1.96 * np.sqrt(variance), rel=1e-4)


def test_the_table_has_a_line_for_each_pair_and_the_mean_over_them():
    text = freezing_weights.report(ROWS)
    assert "| `ib` | 100 | 60.00 (60.0 / 60.0 / 60.0) | 70.00 (70.0 / 70.0 / 70.0) | +10.00 ±" in text
    assert "over 3 strategies, mean +0.00 ±" in text
    assert "accuracy +0.00 (-5.00 to +10.00)" in text
    assert "| `joint` | 45.00 |" in text


def test_pairs_of_the_runs_in_git_begin_at_checkpoints_of_the_frozen_training():
    assert {(pair.strategy, pair.epoch) for pair in freezing_weights.pairs_of(read_rows())} >= {("ib", 100), ("d_ffds", 130)}
