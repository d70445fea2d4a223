import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.ours import judge, page, protocol, random_features
from benchmarks.ours.boards import BOARDS
from benchmarks.ours.rivals import OURS, POINTS, RIVALS, points
from lt_bench.strategies.registry import find


def test_every_strategy_has_the_same_budget_of_points_that_it_accepts():
    for name, grid in (OURS | RIVALS).items():
        chosen = points(grid)
        assert len(chosen) == {"ncm": 3, "compose": 1}.get(name, POINTS), name
        assert len({tuple(point.values()) for point in chosen}) == len(chosen)
        declared = {one.name: one for one in find(name).hyperparameters}
        for point in chosen:
            resolved = find(name).resolve("cifar100_lt", 100, point)
            assert {key: resolved[key] for key in point} == point
            for key, value in point.items():
                if key in declared:
                    declared[key].check(name, value)


def test_points_are_the_same_every_time_and_of_the_product():
    grid = OURS["scatter_prototypes"]
    assert points(grid) == points(grid)
    assert all(point[key] in grid[key] for point in points(grid) for key in grid)


def test_an_interval_is_students_over_units():
    mean, half = page.with_interval(np.array([1.0, 2.0, 3.0]))
    assert (mean, half) == pytest.approx((2.0, 4.302653 / math.sqrt(3)))  # t(0.975; 2), standard deviation 1


def test_a_board_is_run_once_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, board = ["joint", "ncm", "compose"], BOARDS[0]
    assert [line.split(":")[1].strip() for line in protocol.run(board, names, tmp_path, tmp_path / "results")] == names
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.json")}
    list(protocol.run(board, names, tmp_path, tmp_path / "results"))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.json")} == before
    monkeypatch.setattr("sys.argv", ["judge", "--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")])
    judge.main()
    assert "Not complete, and in no comparison: `los`, " in (tmp_path / "out" / "README.md").read_text()
    for module in (judge, page):
        monkeypatch.setattr(module, "RIVALS", {"ncm": RIVALS["ncm"]})
        monkeypatch.setattr(module, "OURS", {"compose": OURS["compose"]})
    judge.main()
    with (tmp_path / "out" / "runs.csv").open() as file:
        runs = {row["strategy"]: row for row in csv.DictReader(file)}
    gap = 100 * (float(runs["compose"]["test/macro_accuracy"]) - float(runs["ncm"]["test/macro_accuracy"]))
    text = (tmp_path / "out" / "README.md").read_text()
    assert f"Less the best rival, `ncm`: `joint + match_prior` {gap:+.2f} (" in text
    assert f"| `joint + match_prior` | best rival | {gap:+.2f} | one board | {int(gap > 0)} of 1 |" in text
    with (tmp_path / "out" / "points.csv").open() as file:
        assert [row["strategy"] for row in csv.DictReader(file)] == ["ncm"] * 3


def test_a_board_that_is_not_at_hand_keeps_its_lines(tmp_path: Path) -> None:
    path, (one, other) = tmp_path / "runs.csv", (pd.DataFrame({"board": [name], "record": ["00e5"]}) for name in ("one", "other"))
    judge.write_table(path, [one, other], "board")
    judge.write_table(path, [other.assign(record="17")], "board")
    judge.write_table(path, [], "board")
    assert path.read_text().splitlines() == ["board,record", "one,00e5", "other,17"]


def test_the_page_in_git_is_that_of_its_tables(tmp_path: Path) -> None:
    results = Path(page.__file__).parent / "results"
    for name in ("strategies.csv", "gaps.csv"):
        (tmp_path / name).write_bytes((results / name).read_bytes())
    page.write_page(tmp_path)
    assert (tmp_path / "README.md").read_text() == (results / "README.md").read_text()


def test_random_features_are_a_line_for_each_width(small_cache, monkeypatch, capsys):
    monkeypatch.setattr(random_features, "FEATURES", 64)
    random_features.main(small_cache)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "features",
        *(f"64 random features, sigma {sigma}" for sigma in random_features.WIDTHS),
    ]
    assert all(0 < float(line.split(": ")[1].split()[0]) <= 100 for line in lines)


def test_random_features_stand_for_a_gaussian_kernel():
    features = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    mapped, of = random_features.fourier(8, 0.7, 0)(features), torch.nn.functional.normalize(features, dim=1)
    kernel = torch.exp(-(torch.cdist(of, of) ** 2) / (2 * 0.7**2))
    assert (mapped @ mapped.T).numpy() == pytest.approx(kernel.numpy(), abs=0.09)  # of 2,048 features: 4 / sqrt(2,048)
