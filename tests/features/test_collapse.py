"""Within- over between-class scatter of features."""

import numpy as np
import pytest

import lt_bench as lt


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
