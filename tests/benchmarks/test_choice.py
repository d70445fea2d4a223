"""The estimate of `choose` beside the test figure, on a small cache."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

import lt_bench as lt
from benchmarks import choice

K, D = 4, 6


def drawn(counts, seed):
    """Features (N, D) and labels (N,) of classes that lie apart."""
    labels = np.repeat(np.arange(K), counts)
    return 2.0 * np.eye(K, D)[labels] + np.random.default_rng(seed).normal(size=(len(labels), D)), labels


@pytest.mark.slow
def test_estimates_and_test_figures_are_those_of_the_functions(tmp_path, monkeypatch, capsys):
    cache = lt.Cache.from_arrays(
        *drawn([40, 20, 10, 5], 1), test=drawn([9] * K, 2), val=drawn([9] * K, 3), name="ponds", directory=tmp_path / "ponds"
    )
    words = ["--cache", f"{tmp_path}/ponds", "--strategies", "ncm", "lda", "--split", "val", "--folds", "3", "--budget", "2"]
    monkeypatch.setattr(sys, "argv", ["choice.py", *words, "--results", str(tmp_path / "results")])
    choice.main()
    printed = capsys.readouterr().out
    again = lt.choose(cache, ["ncm", "lda"], split="val", folds=3, budget=2)
    for one in again.document["strategies"]:
        (run,) = lt.fit(one["strategy"], cache, seeds=again.document["seeds"][0], **one["hyperparameters"])
        (line,) = re.findall(rf"^{one['strategy']} +([\d.]+) .* ([\d.]+) +[+-][\d.]+", printed, re.MULTILINE)
        assert [float(value) for value in line] == [
            pytest.approx(100 * value, abs=0.006) for value in (one["value"], run.metrics["test"]["macro_accuracy"])
        ]
