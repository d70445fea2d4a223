"""The points that a budget of `tune` buys."""

import json

import pytest

import lt_bench as lt
from lt_bench.bench.choosing.points import USUAL, points_of
from lt_bench.bench.tuned import read_tuning
from lt_bench.bench.tuning.points import accepted, drawn_places, grid_points, within_budget
from lt_bench.features.cache import open_cache
from lt_bench.results.store import Store
from lt_bench.strategies.registry import find


def tried(name, cache, budget, fixed=None):
    entry, fixed = find(name), fixed or {}
    return within_budget(entry, cache, fixed, accepted(entry, cache, fixed, grid_points(entry, fixed))[0], budget)


def own(name, cache):
    entry, dataset = find(name), cache.manifest.dataset
    resolved = entry.resolve(dataset.name, dataset.imbalance_factor, {})
    return {key: resolved[key] for key in entry.grid}


@pytest.mark.parametrize("name", ["los", "tau_norm", "d_ffds", "lda", "weight_balancing"])
def test_every_strategy_gets_as_many_points_its_own_first_and_no_two_alike(name, small_cache):
    cache = open_cache(small_cache)
    entry = find(name)
    whole = grid_points(entry, {})
    for budget in (1, 2, 7):
        points, of = tried(name, cache, budget)
        assert (len(points), points[0]) == (budget, own(name, cache))
        assert all(one not in points[:place] and (place == 0 or one in whole) for place, one in enumerate(points))
        assert of == len(whole) + (own(name, cache) not in whole)
    assert tried(name, cache, 7) == tried(name, cache, 7)
    assert len(tried(name, cache, 10_000)[0]) == tried(name, cache, 10_000)[1]


def test_points_that_are_refused_or_fixed_do_not_use_up_a_budget(small_cache):
    cache = open_cache(small_cache)
    fixed = {"gamma_min": 1.0, "weight_decay": 0.0002}
    points, of = tried("d_ffds", cache, 4, fixed)
    assert len(points) == 4
    assert all(point.keys() == {"lr", "gamma_max"} and point["gamma_max"] >= 1 for point in points)
    assert of in (6, 7)  # 3 rates x 2 that are not refused, and the strategy's own where it is none of them


@pytest.mark.parametrize("budget", [1, 6, 10_000])
@pytest.mark.parametrize("name", [*USUAL, "d_ffds", "tau_norm", "weight_balancing"])
def test_choose_tries_the_points_that_tune_tries(name, budget, small_cache):
    cache = open_cache(small_cache)
    entry, dataset = find(name), cache.manifest.dataset
    chosen_among = points_of(entry, cache, budget)
    assert chosen_among[0] == {}
    if not entry.grid:
        assert chosen_among == [{}]
    else:
        by_tune, _ = tried(name, cache, budget)
        assert [entry.resolve(dataset.name, dataset.imbalance_factor, point) for point in chosen_among] == [
            entry.resolve(dataset.name, dataset.imbalance_factor, point) for point in by_tune
        ]


@pytest.mark.parametrize("name", ["tau_norm", "lda"])
def test_choose_tries_the_points_of_a_file_of_tune(name, small_cache):
    cache = open_cache(small_cache)
    entry, dataset = find(name), cache.manifest.dataset
    tried_by_tune = [
        row["hyperparameters"] for row in lt.tune(name, lt.open_cache(small_cache), budget=6, accelerator="cpu").document["grid"]
    ]
    by_choose = [entry.resolve(dataset.name, dataset.imbalance_factor, point) for point in points_of(entry, cache, 6)]
    assert by_choose == [entry.resolve(dataset.name, dataset.imbalance_factor, point) for point in tried_by_tune]


def test_places_are_drawn_in_their_order():
    assert drawn_places(3, 9).tolist() == [0, 1, 2]
    assert sorted(set(drawn_places(30, 9).tolist())) == drawn_places(30, 9).tolist()


def test_a_budget_stands_in_the_tuning_its_command_the_record_and_the_board(cli, small_cache, tmp_path):
    line = ("--strategy", "tau_norm", "--cache", "small", "--accelerator", "cpu")
    done = cli("tune", *line, "--budget", "4")
    assert (done.code, done.err) == (0, "")
    assert "4 of 21 points" in " ".join(done.out.split())
    (path,) = (tmp_path / "results" / "tuning").glob("*.json")
    document = read_tuning(path)
    assert (document["budget"], len(document["grid"])) == ({"points": 4, "of": 21}, 4)
    assert "--budget 4" in document["command"]
    assert "4 of 21 points" in cli("run", *line, "--tuned").out
    (record,) = Store(tmp_path / "results").records()
    assert (record.tuning.grid_size, record.tuning.whole_grid) == (4, 21)
    assert cli("leaderboard", "--formats", "csv").code == 0
    assert "4 of 21 tried" in (tmp_path / "leaderboard" / "leaderboard.csv").read_text()
    assert lt.tune("tau_norm", lt.open_cache(small_cache), budget=4, accelerator="cpu").document["id"] == document["id"]
    done = cli("tune", *line)
    assert "21 points" in " ".join(done.out.split())
    assert "and 11 points more" in done.out
    assert "budget" not in json.loads(path.read_text())
    refused = cli("tune", *line, "--budget", "0")
    assert (refused.code, refused.err) == (2, "lt-bench: --budget 0: expected at least 1 point\n")


def test_the_edge_of_a_draw_is_no_edge_of_the_grid(cli, small_cache, tmp_path):
    """The least and the largest value of a few drawn points lie within the grid."""
    for budget in range(3, 9):
        assert cli("tune", "--strategy", "tau_norm", "--cache", "small", "--accelerator", "cpu", "--budget", str(budget)).code == 0
        (path,) = (tmp_path / "results" / "tuning").glob("tau_norm-????????????????.json")
        document = read_tuning(path)
        assert bool(document["at_edge"]) == (document["choice"]["tau"] in (0.0, 2.0))
