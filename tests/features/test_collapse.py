"""Within- over between-class scatter of features."""

import numpy as np
import pytest

import lt_bench as lt
from lt_bench.core.stored import STORED_NAME
from lt_bench.features import class_scatter
from lt_bench.features.collapse import collapse_of, collapse_text, known_collapse
from lt_bench.features.locate import home


def features(rng, means, counts, within):
    labels = np.repeat(np.arange(len(counts)), counts)
    return means[labels] + within * rng.normal(size=(len(labels), means.shape[1])), labels


def test_collapse_is_that_of_the_population_at_any_class_size():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(60, 16))
    counts = np.linspace(200, 2, 60).astype(int)
    (X, y), test = features(rng, means, counts, 0.2), features(rng, means, [3] * 60, 1.5)
    found = lt.Cache.from_arrays(X, y, test=test).collapse()
    between = means.var(0, ddof=1).sum()
    assert found["train"] == pytest.approx(16 * 0.2**2 / between, rel=0.1)
    assert found["test"] == pytest.approx(16 * 1.5**2 / between, rel=0.15)
    assert set(found) == {"train", "test"}


def test_it_is_measured_once_for_a_key_and_rows_of_one_class_have_none(monkeypatch):
    rng = np.random.default_rng(1)
    X, y = features(rng, rng.normal(size=(3, 5)), [8, 6, 4], 0.3)
    cache = lt.Cache.from_arrays(X, y, test=(X[:8], y[:8]))
    assert known_collapse(cache.key) is None
    found = collapse_of(cache)
    assert np.isnan(found["test"])
    (path,) = (home() / "collapse").glob(f"{cache.key}*")
    assert STORED_NAME.fullmatch(path.name)
    monkeypatch.setattr(class_scatter, "scatter_ratio", lambda *_: 0.0)
    assert collapse_of(cache) == pytest.approx(found, nan_ok=True, abs=0)
    assert known_collapse(cache.key)["train"] == found["train"]
    path.write_text(path.read_text().replace("0.", "1."))  # a seal that is broken: measured anew
    assert collapse_of(cache) == {"train": 0.0, "test": 0.0}


def test_class_means_as_near_as_chance_makes_them_have_none():
    rows, classes = np.concatenate([np.eye(4), -np.eye(4)]), 3  # the mean of every class is zero
    X, y = np.tile(rows, (classes, 1)), np.arange(classes).repeat(len(rows))
    found = lt.Cache.from_arrays(X + np.eye(4)[y], y, test=(X, y)).collapse()
    assert np.isnan(found["test"])
    assert found["train"] > 0
    assert collapse_text(found).endswith("test not measurable")


def test_every_record_carries_it_and_so_does_the_board():
    rng = np.random.default_rng(2)
    X, y = features(rng, rng.normal(size=(4, 6)), [30, 20, 10, 5], 0.4)
    cache = lt.Cache.from_arrays(X, y, test=features(rng, rng.normal(size=(4, 6)), [9] * 4, 0.4))
    board = lt.leaderboard(lt.fit("ncm", cache) + lt.fit("joint", cache))
    for _, row in board.frame.iterrows():
        assert row["collapse"] == pytest.approx(cache.collapse()["test"])
        assert row["collapse_train"] == pytest.approx(cache.collapse()["train"])
