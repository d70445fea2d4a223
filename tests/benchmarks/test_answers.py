"""The studies behind the findings, on small tables whose truth is known, and on the runs in git."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import class_bias, freezing_weights, over_backbones, regularisation
from benchmarks.evidence.rows import OUT, read_rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def runs():
    return read_rows(OUT)


def test_a_partial_correlation_takes_out_what_a_third_explains():
    rng = np.random.default_rng(0)
    bias = rng.random(200)
    accuracy, balance = -bias + 0.1 * rng.random(200), bias + 0.1 * rng.random(200)
    assert class_bias.spearman(balance, accuracy).rho < -0.9
    assert abs(class_bias.partial(balance, accuracy, bias).rho) < 0.2
    both = rng.random(200)
    own = class_bias.partial(both + 0.3 * rng.random(200), both + bias, bias)
    assert own.rho > 0.8  # beside what the third explains


def test_each_strategy_counts_once_and_the_last_program_of_it():
    line = {
        "cache_key": "a",
        "seed": 0,
        "mode": "head",
        "protocol": "clean",
        "family": "x",
        "tuning": "official",
        "hyperparameters": "{}",
        "weight_norm": np.array([1.0, 3.0]),
    }
    metrics = dict.fromkeys(class_bias.METRICS.values(), 0.5)
    rows = [("los", "1", "2026-01-01", 0.4), ("los", "2", "2026-01-02", 0.6), ("lort", "1", "2026-01-01", 0.6), ("val_probe", "1", "2026-01-01", 0.7), ("crt", "1", "2026-01-01", 0.3)]  # fmt: skip
    frame = pd.DataFrame([line | metrics | {"strategy": name, "code": code, "finished": when, "test/accuracy": accuracy, "family": "control" if name == "val_probe" else "x"} for name, code, when, accuracy in rows])  # fmt: skip
    table = class_bias.heads(frame, "a")
    assert sorted(table["strategy"]) in (["crt", "lort", "val_probe"], ["crt", "los", "val_probe"])  # equal figures once
    assert table["norms"].iloc[0] == pytest.approx(0.5)


def test_given_class_bias_the_balance_of_loma_says_nothing_more_on_the_shipped_features(runs):
    table = class_bias.tables_of(runs)["cifar100_lt-if100-resnet10s2"]
    methods = table[table["family"] != "control"]
    of = {key: methods[key].to_numpy() for key in class_bias.METRICS}
    plain, given = class_bias.spearman(of["bias"], of["accuracy"]), class_bias.partial(of["balance"], of["accuracy"], of["bias"])
    assert plain.high is not None
    assert plain.high < -0.7
    assert given.low is not None
    assert given.high is not None
    assert given.low < 0 < given.high
    scaled = table[table["strategy"] == "random_scales"]
    joint = table[table["strategy"] == "joint"].iloc[0]
    assert scaled["rsd"].to_numpy() == pytest.approx(joint["rsd"], rel=1e-5)  # a head that was spoilt has the same RSD
    assert scaled["accuracy"].max() < joint["accuracy"]
    assert (table.set_index("strategy")["norms"]["d_ffds"], table.set_index("strategy")["norms"]["joint"]) == pytest.approx(
        (0.223, 0.325), abs=0.001
    )


def test_official_los_gains_under_strong_decay_and_loses_under_ordinary(runs, tmp_path):
    of = {title: runs[(runs["cache_name"] == name) & (runs["tuning"] != "tuned")] for name, title in regularisation.KINDS.items()}
    gains = {}
    for title, rows in of.items():
        los, joint = regularisation.classes_of(rows, "los", regularisation.OFFICIAL), regularisation.classes_of(rows, "joint", {})
        assert los is not None
        assert joint is not None
        gains[title] = los.mean() - joint.mean()
    assert gains["strong, seed 0"] > 5
    assert gains["strong, seed 1"] > 5
    assert gains["strong, seed 2"] > 5
    assert gains["ordinary, seed 0"] < -2
    assert regularisation.classes_of(of["ordinary, seed 0"], "los", {"epsilon": 0.123}) is None


@pytest.mark.slow
def test_tables_and_figures_are_those_in_git(runs, tmp_path):
    assert over_backbones.report(runs) == (OUT.parent / "OVER_BACKBONES.md").read_text(encoding="utf-8")
    assert freezing_weights.report(runs) == (OUT.parent / "FREEZING.md").read_text(encoding="utf-8")
    for module, name in ((class_bias, "CLASS_BIAS.md"), (regularisation, "REGULARISATION.md")):
        tables = class_bias.tables_of(runs)
        rows = runs[(runs["mode"] == "head") & (runs["tuning"] != "tuned")]
        text = class_bias.report(runs, tables) if module is class_bias else regularisation.report(rows)
        assert text == (OUT.parent / name).read_text(encoding="utf-8")
        module.draw(tables if module is class_bias else rows, tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 5000


def test_a_board_whose_test_set_is_imbalanced_has_macro_accuracy_too(runs):
    tables = class_bias.tables_of(runs)
    macro = {name for name, table in tables.items() if "with macro accuracy" in class_bias.section(name, table)}
    assert macro == {"plankton-lite0-128"}
    assert set(class_bias.TITLES) == {
        name for name, table in tables.items() if (table["family"] != "control").sum() >= class_bias.MANY
    }  # all are drawn


def test_no_method_of_the_field_is_shown_to_be_above_taking_the_prior_off(runs):
    for boards in over_backbones.EVERY_STRATEGY.values():
        of = over_backbones.accuracies(runs, boards, "own")
        effects = {
            name: over_backbones.random_effects(one - of["logit_adjustment"]) for name, one in of.items() if name != "logit_adjustment"
        }
        assert len(effects) == 75
        assert {name for name, (mean, *_, both) in effects.items() if mean > both} <= {"los_prototypes"}
        assert sum(mean < -both for mean, *_, both in effects.values()) >= 39


def test_differences_over_backbones_are_random_effects_of_class_accuracies(runs):
    tuned = over_backbones.accuracies(runs[runs["strategy"].isin(["los", "logit_adjustment"])], over_backbones.BOARDS, "tuned")
    assert tuned["los"].shape == (len(over_backbones.BOARDS), 100)
    lines = over_backbones.table(tuned, over_backbones.BOARDS)
    mean, boards, classes, both = over_backbones.random_effects(tuned["los"] - tuned["logit_adjustment"])
    assert f"| `los` | {mean:+.2f} | {boards:.2f} | {classes:.2f} | {both:.2f} |" in "\n".join(lines)
    assert abs(mean) < both  # not told apart


def test_strategies_with_the_same_figures_count_once_and_ensembles_not_at_all(runs):
    for name, table in class_bias.tables_of(runs).items():
        strategies = set(table["strategy"])
        assert not {"los", "lort"} <= strategies, name  # one loss, fitted over different numbers of head seeds
        assert not any(one.startswith("ensemble(") for one in strategies), name


def test_intervals_over_families_are_wider_where_strategies_of_a_family_agree():
    rng = np.random.default_rng(0)
    of_family = np.repeat(rng.normal(size=(8, 2)), 8, axis=0) + 0.01 * rng.normal(size=(64, 2))
    table = pd.DataFrame(dict.fromkeys(class_bias.METRICS, 0.0), index=range(64)).assign(
        family=np.repeat(np.arange(8), 8), rsd=of_family[:, 0], equal=of_family[:, 1]
    )
    alone = class_bias.spearman(of_family[:, 0], of_family[:, 1])
    low, high = class_bias.over_families(table, class_bias.rsd_at_equal_bias)
    assert alone.low is not None
    assert alone.high is not None
    assert high - low > 1.5 * (alone.high - alone.low)
    assert low < alone.rho < high


def test_told_apart_is_corrected_for_the_rows_of_the_table():
    rng = np.random.default_rng(1)
    noise = {f"tie {place}": rng.normal(size=(4, 50)) for place in range(200)}
    true = {"better": 3 + rng.normal(size=(4, 50))}
    assert over_backbones.told_apart(true | noise) == {"better"}
    alone = {name for name, one in noise.items() if over_backbones.told_apart({name: one})}
    assert alone  # without correction some of two hundred ties would be
    assert over_backbones.told_apart({"the same": np.zeros((4, 50)), **true}) == {"better"}
