"""A tuning that is killed goes on at the points it was at, and no other tuning takes them up."""

import json

import pytest

from lt_bench.bench.planning import plan
from lt_bench.bench.sources import cache as source
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.tuning.scores import ALL, Scorer
from lt_bench.bench.tuning.tune import tune, write_tuning
from lt_bench.bench.tuning.unfinished import unfinished_scores
from lt_bench.core.errors import UserError
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import open_cache
from lt_bench.leaderboard.objective.objective import MACRO, MICRO
from lt_bench.strategies.registry import find

FIXED = {"epochs": 1, "weight_decay": 0.0}


@pytest.fixture
def bench(small_cache):
    return CacheSource(open_cache(small_cache), Hardware("cpu"))


def tuned(bench, results, **more):
    entry = find("focal")
    return tune(entry, bench, [0, 1], fixed=FIXED, grid={"lr": (0.1, 0.2, 0.4), "gamma": (0.5, 1.0)}, results=results, **more)


def unfinished(results):
    return sorted((results / "tuning").glob("*.unfinished"))


@pytest.fixture
def killed(bench, tmp_path, monkeypatch):
    """A tuning that was killed before its third pool of four heads, and the runs of each pool that is fitted."""
    monkeypatch.setattr(source, "POOL_HEADS", 4)
    original, pools = Scorer.__call__, []

    def score(self, unit):
        if len(pools) == 2:
            pools.append("killed")
            raise KeyboardInterrupt
        pools.append([run.id for run in unit.runs])
        return original(self, unit)

    monkeypatch.setattr(Scorer, "__call__", score)
    with pytest.raises(KeyboardInterrupt):
        tuned(bench, tmp_path)
    return pools


def test_it_goes_on_where_it_was_and_ends_the_same(bench, killed, tmp_path):
    (path,) = unfinished(tmp_path)
    assert path.name.startswith(f"focal-{bench.manifest.key}-fixed-")
    assert sorted(json.loads(path.read_text())["scores"]["plain"]) == sorted(killed[0] + killed[1])
    again = tuned(bench, tmp_path)
    third, *shifted = killed[3:]
    assert not set(third) & {*killed[0], *killed[1]}
    assert sum(map(len, shifted)) == 6  # the three best once more, from a shifted start
    assert unfinished(tmp_path)  # until the tuning is written
    written = write_tuning(again, find("focal"), bench.manifest, tmp_path)
    assert list(written.parent.iterdir()) == [written]
    assert again == tuned(bench, None)


def test_other_code_another_grid_or_objective_begin_anew(bench, killed, tmp_path):
    before = len(killed)
    tuned(bench, tmp_path, objective=MICRO)
    assert len(unfinished(tmp_path)) == 2
    assert sum(map(len, killed[before:])) == 12 + 6

    def path(name, grid):
        entry = find(name)
        planned = [plan(entry, bench.manifest, {"epochs": 1, "lr": lr}, [0]) for lr in grid]
        return unfinished_scores(tmp_path / "tuning" / "one.json", bench, planned, MACRO, ALL).path

    assert len({path("focal", (0.1, 0.2)), path("focal", (0.1, 0.3)), path("focal", (0.1, 0.2))}) == 2


def test_the_code_of_a_strategy_is_in_the_name(bench, tmp_path, monkeypatch):
    paths = []
    for name, factor in (("own_before", 1.0), ("own_after", 2.0)):
        (tmp_path / f"{name}.py").write_text(
            "from lt_bench.strategies.ce import CE\n\n\nclass Own(CE):\n    name = 'own'\n\n"
            f"    def transform(self, logits, labels):\n        return logits * {factor}\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        planned = [plan(find(f"{name}.Own"), bench.manifest, {}, [0])]
        paths.append(unfinished_scores(tmp_path / "one.json", bench, planned, MACRO, ALL).path)
    assert paths[0] != paths[1]


def test_an_altered_file_is_refused(bench, killed, tmp_path):
    (path,) = unfinished(tmp_path)
    document = json.loads(path.read_text())
    run = next(iter(document["scores"]["plain"]))
    document["scores"]["plain"][run][0] = [1.0]
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="altered after it was written"):
        tuned(bench, tmp_path)
    assert path.is_file()
    path.write_text(path.read_text()[:40])
    with pytest.raises(UserError, match=r"damaged .*; move it away and run `lt-bench tune` again"):
        tuned(bench, tmp_path)
