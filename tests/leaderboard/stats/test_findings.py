from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.load import from_records, load_records
from lt_bench.leaderboard.stats.findings import CONTROLS, findings, published_settings, spearman, variation
from lt_bench.strategies.registry import find, strategy_names

SHIPPED = Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "shipped"


def test_spearman_against_scipy_and_by_simulated_coverage():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(30)
    y = x + rng.standard_normal(30)
    found = spearman(np.append(x, np.nan), np.append(y, 1.0))
    assert found.n == 30
    assert found.rho == pytest.approx(stats.spearmanr(x, y)[0])
    assert found.low < found.rho < found.high
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's rho of a normal pair with correlation 0.6
    covered = 0
    for _ in range(400):
        a = rng.standard_normal(25)
        found = spearman(a, 0.6 * a + 0.8 * rng.standard_normal(25))
        covered += found.low <= truth <= found.high
    assert covered / 400 > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 400)
    assert np.isnan(spearman(x, np.ones(30)).rho)
    assert spearman(x[:4], y[:4]).low is None


def test_variation():
    values = np.array([1.0, 2.0, 3.0, np.nan])
    spread, low, high = variation(values)
    assert spread == pytest.approx(np.std([1, 2, 3]) / 2)
    assert low < spread < high
    assert variation(np.full(6, 3.0)) == (0.0, 0.0, 0.0)


def test_findings_count_a_strategy_once(builder):
    skills = {"a": 0.0, "b": 0.5, "c": 1.0, "d": 1.5, "e": 2.0}
    made = [builder.make(name, 0, skill, loma=6 - skill)[0] for name, skill in skills.items()]
    made += [builder.make("a", 0, 3.0, loma=9.0, kind="tuned", hyperparameters={"x": 1})[0]]
    made += [builder.make("f", 0, 3.0, loma=9.0, kind="author-tuned")[0]]
    (found,) = boards(from_records(made))
    first, second, third = findings(found)
    assert "LoMa size: Spearman -1.00 (no interval), 5 strategies" in first
    assert "bias" not in first  # records that have none
    assert "RSD by" in second
    assert "lt-bench run --strategy random_scales,random_head,ncm_one_image,val_probe --cache " in third
    control = builder.make("random_head", 0, -3.0, loma=1.0, kind="author-tuned", family="control")[0]
    ensemble = builder.make("ensemble(a+b)", 0, 3.0, loma=1.0, family="ensemble")[0]
    (controlled,) = boards(from_records([*made, control, ensemble]))
    assert findings(controlled) == [first, second]  # and neither is a strategy
    (few,) = boards(from_records(made[1:]))
    assert findings(few) == []


def test_shipped_rows_that_share_a_loma_share_a_rank():
    """`joint` and post-hoc logit adjustment have one LoMa; their records differ by 1e-9, in another way on every machine."""
    found = boards(load_records(SHIPPED))[0]
    rows, repeated = published_settings(found)
    loma, accuracy = (np.array([row.estimate(f"test/{name}").mean for row in rows]) for name in ("loma_column_mean", "accuracy"))
    assert len(rows) == 10
    assert repeated == {}
    rng = np.random.default_rng(0)
    for shift in (0.0, 2e-8):
        rho = spearman(loma + shift * rng.standard_normal(10), accuracy).rho
        assert rho == pytest.approx(stats.spearmanr(loma.round(6), accuracy)[0])
        assert round(rho, 2) == -0.35


def test_duplicates_count_once(builder):
    skills = {"a": 0.0, "b": 0.5, "c": 1.0, "d": 1.5, "los": 2.0}
    made = [builder.make(name, seed, skill, loma=6 - skill) for name, skill in skills.items() for seed in range(2)]
    wanted = findings(boards(from_records(made))[0])[:2]
    for record, arrays in [(one, arrays) for one, arrays in made if one.strategy.name == "los"]:
        metrics = {view: {name: value + 1e-9 for name, value in values.items()} for view, values in record.metrics.items()}
        again = replace(record.identity, strategy="lort")
        made.append((replace(record, identity=again, strategy=replace(record.strategy, name="lort"), metrics=metrics), arrays))
    (found,) = boards(from_records(made))
    assert len(found.rows) == 6
    first, second, third, _ = findings(found)
    assert [first, second] == wanted
    assert third.startswith("1 row is a duplicate and counted once")
    assert third.endswith(": los of lort.")


def test_the_controls_that_are_named_are_those_of_the_registry():
    assert set(CONTROLS) == {name for name in strategy_names() if find(name).family == "control"}
