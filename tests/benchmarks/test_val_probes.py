"""Probes on the validation images beside the strategy that is one of them."""

from __future__ import annotations

import numpy as np
import pytest

import lt_bench as lt
from benchmarks import val_probes


def test_the_probe_is_that_of_the_control_val_probe(small_cache):
    cache = lt.open_cache(small_cache)
    (run,) = lt.fit("val_probe", cache, ridge=0.01)
    found = val_probes.accuracy("multinomial", 0.01, val_probes.arrays(cache, "val"), val_probes.arrays(cache, "test"))
    assert found == pytest.approx(run.metrics["test"]["accuracy"], abs=0.005)


@pytest.mark.parametrize("name", sorted(val_probes.SCALINGS))
def test_scaled_features_have_a_mean_squared_length_of_one(name):
    rng = np.random.default_rng(0)
    val = 3 + 5 * rng.normal(size=(40, 7))
    assert np.square(val_probes.scale(name, val, val)).sum(1).mean() == pytest.approx(1)
    twice = val_probes.scale(name, 2 * val, 2 * val)
    assert twice == pytest.approx(val_probes.scale(name, val, val))


def test_the_report_has_each_accuracy_and_the_best(small_cache):
    cache = lt.open_cache(small_cache)
    text = val_probes.report(cache, ridges=(1e-2, 1e2), scalings=("unit length",))
    rows = [line.split("|")[3:-1] for line in text.splitlines() if line.startswith("| unit length")]
    assert [len(row) for row in rows] == [2, 2]
    found = [float(cell) for row in rows for cell in row]
    val, test = val_probes.arrays(cache, "val"), val_probes.arrays(cache, "test")
    scaled = [(val_probes.scale("unit length", part[0], val[0]), part[1]) for part in (val, test)]
    assert found[0] == pytest.approx(100 * val_probes.accuracy("multinomial", 1e-2, *scaled), abs=0.006)
    assert max(found) > min(found)
    assert f"The best: {max(found):.2f}." in text
