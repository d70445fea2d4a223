"""One process and two give the same, for every registered strategy."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lt_bench.strategies.registry import strategy_names

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("lt_bench_two_processes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def together(small_cache, tmp_path_factory):
    """Outcomes of each of two processes."""
    directory = tmp_path_factory.mktemp("processes")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, SCRIPT, directory, small_cache], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((directory / f"{rank}.json").read_text()) for rank in (0, 1)]


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


def test_two_processes_are_one_side_by_side(together, script, small_cache):
    alone = json.loads(json.dumps(script.pooled(small_cache, 1)))
    for rank in (0, 1):
        compare(alone, together[rank]["pooled"], f"process {rank}:")


@pytest.mark.parametrize("name", strategy_names())
def test_two_processes_are_one(name, together, script, small_cache):
    alone = json.loads(json.dumps(script.outcome(name, small_cache, 1)))
    for rank in (0, 1):
        compare(alone, together[rank][name], f"{name}, process {rank}:")
    assert together[0][name]["test"]["vectors"]["class_total"] == [7] * 6
    assert together[0][name]["val"]["vectors"]["class_total"] == [5] * 5 + [0]  # 25 samples, an odd number
