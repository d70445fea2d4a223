"""One process and two give the same, for every registered strategy."""

import json

import numpy as np
import pytest

from lt_bench.strategies.registry import strategy_names
from tests.engine.heads import two_processes
from tests.two import run_two


@pytest.fixture(scope="module")
def together(small_cache, tmp_path_factory):
    """Outcomes of each of two processes."""
    directory = tmp_path_factory.mktemp("processes")
    run_two(two_processes.main, directory, small_cache)
    return [json.loads((directory / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone(small_cache):
    """Outcomes of one process."""
    return json.loads(json.dumps(two_processes.outcomes(small_cache, 1)))


def compare(one, other, where):
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            compare(one[key], other[key], f"{where} {key}")
    elif isinstance(one, list) and one and isinstance(one[0], dict | list):
        assert len(one) == len(other), where
        for position, (left, right) in enumerate(zip(one, other, strict=True)):
            compare(left, right, f"{where} {position}")
    else:
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-6, equal_nan=True, err_msg=where)


def test_two_processes_are_one_side_by_side(together, small_cache):
    alone = json.loads(json.dumps(two_processes.pooled(small_cache, 1)))
    for rank in (0, 1):
        compare(alone, together[rank]["pooled"], f"process {rank}:")


@pytest.mark.parametrize("name", strategy_names())
def test_two_processes_are_one(name, together, alone):
    for rank in (0, 1):
        compare(alone[name], together[rank][name], f"{name}, process {rank}:")
    assert together[0][name]["vectors"]["class_total"] == [5] * 5 + [0]  # 25 samples, an odd number
