"""Worth of validation and of a tuning budget, from points that were fitted once."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from benchmarks.grid_points import Points, fitted_points, read_points, write_points
from benchmarks.tuning_budgets import expected, first_on_test, probabilities
from benchmarks.validation_draws import SETTINGS, chosen, first_of
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import open_cache

FITTED = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "grid-points"


@pytest.fixture(scope="module")
def shipped():
    return {path.stem: read_points(path) for path in sorted(FITTED.glob("*.npz"))}


def test_the_expected_best_of_a_budget_is_that_of_all_subsets():
    rng = np.random.default_rng(0)
    points = Points("x", [{}] * 6, rng.random((6, 40)) < 0.5, rng.random(6), np.repeat([0, 1], 20), np.array([9, 3]))
    validation = np.round(points.scores(np.arange(40)), 9)
    for budget in (1, 2, 4, 6, 9):
        subsets = list(itertools.combinations(range(6), min(budget, 6)))
        best = [points.test[max(subset, key=lambda one: (validation[one], -one))] for subset in subsets]
        assert expected(points, budget) == pytest.approx(100 * np.mean(best))
        assert probabilities(6, budget).sum() == pytest.approx(1)
    worse = Points("y", [{}], points.right[:1], np.array([-1.0]), points.labels, points.train_counts)
    assert first_on_test([points, worse], 2) == {"x": pytest.approx(1), "y": pytest.approx(0)}


def test_budgets_and_draws_of_the_shipped_features_are_those_of_the_findings(shipped):
    rivals = [shipped[name] for name in shipped if name != "joint"]
    first = {budget: first_on_test(rivals, budget) for budget in (5, 20)}
    assert first[5]["los"] == pytest.approx(0.34, abs=0.005)
    assert first[5]["prototype_la"] == pytest.approx(0.32, abs=0.005)
    assert first[20]["los"] == pytest.approx(0.82, abs=0.005)
    names = ("los", "ncm", "prototype_la", "logit_adjustment")
    drawn = {name: chosen(shipped[name], *SETTINGS["long-tailed, 250"], 200) for name in names}
    means = {name: round(float(values.mean()), 1) for name, values in drawn.items()}
    assert tuple(means[name] for name in names) == (42.7, 43.4, 42.5, 41.3)
    assert sum(first_of(drawn).values()) == pytest.approx(1)


def test_points_are_those_of_the_cache(small_cache, tmp_path):
    bench = CacheSource(open_cache(small_cache), Hardware("cpu", 1))
    points = fitted_points(bench, "tau_norm")
    write_points(points, tmp_path / "tau_norm.npz")
    read = read_points(tmp_path / "tau_norm.npz")
    assert (read.strategy, read.points) == ("tau_norm", points.points)
    assert (read.right == points.right).all()
    assert len(set(points.test)) > 1
    everything = np.arange(len(points.labels))
    of_classes = [points.right[:, points.labels == k].mean(1) for k in np.unique(points.labels)]
    assert points.scores(everything) == pytest.approx(np.mean(of_classes, 0))
