"""Worth of validation and of a tuning budget, from points that were fitted once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import grid_points
from benchmarks.grid_points import fitted_points, read_points, write_points
from benchmarks.tuning_budgets import ranked
from benchmarks.validation_draws import SETTINGS, chosen, first_of
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import open_cache
from lt_bench.leaderboard.choice.budgets import first_on_test

ROOT = Path(__file__).resolve().parents[2]
FITTED = ROOT / "benchmarks" / "results" / "grid-points"


@pytest.fixture(scope="module")
def shipped():
    return {path.stem: read_points(path) for path in sorted(FITTED.glob("*.npz"))}


def test_budgets_and_draws_of_the_shipped_features_are_those_of_the_findings(shipped):
    rivals = [ranked(shipped[name]) for name in shipped if name != "joint"]
    first = {budget: dict(zip([one.strategy for one in rivals], first_on_test(rivals, budget), strict=True)) for budget in (5, 20)}
    assert first[5]["los"] == pytest.approx(0.34, abs=0.005)
    assert first[5]["prototype_la"] == pytest.approx(0.32, abs=0.005)
    assert first[20]["los"] == pytest.approx(0.82, abs=0.005)
    names = ("los", "ncm", "prototype_la", "logit_adjustment")
    drawn = {name: chosen(shipped[name], *SETTINGS["long-tailed, 250"], 200) for name in names}
    means = {name: round(float(values.mean()), 1) for name, values in drawn.items()}
    assert tuple(means[name] for name in names) == (42.7, 43.4, 42.5, 41.3)
    shots = chosen(shipped["los"], *SETTINGS["the same, shots"], 200)
    assert float(shots.mean()) == pytest.approx(43.2, abs=0.05)  # half a point more than by macro accuracy
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "module", "name"),
    [
        ("grid-points", "tuning_budgets", "BUDGETS.md"),
        ("grid-points", "validation_draws", "DRAWS.md"),
        ("grid-points-unseen", "validation_sizes", "SIZES.md"),
    ],
)
def test_the_commands_give_the_tables_in_git(tmp_path, folder, module, name):
    """Of the points in git, each as the command of its docstring."""
    shutil.copytree(FITTED.parent / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.md"))
    subprocess.run([sys.executable, "-m", f"benchmarks.{module}", str(tmp_path / folder)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / folder / name).read_text() == (FITTED.parent / folder / name).read_text()


def test_points_are_fitted_once(small_cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["grid_points.py", "--cache", str(small_cache), "--strategies", "joint,tau_norm", "--out", str(tmp_path)]
    )
    grid_points.main()
    assert [line.split(" points")[0] for line in capsys.readouterr().out.splitlines()] == ["joint: 1", "tau_norm: 21"]
    grid_points.main()
    assert capsys.readouterr().out == ""
