import numpy as np
import pytest
import torch

from lt_bench.metrics.evaluation import Evaluation
from tests.metrics import two_processes
from tests.two import run_two


@pytest.fixture(scope="module")
def data(reference):
    z, y = reference.sample(17, 101, 6)
    y[y == 4] = 5  # class 4 is absent
    y[:50] = y[:50] % 2  # the first process sees two classes only
    rng = np.random.default_rng(1)
    bias = np.array([1e6, 0, 0, -1e6, 0, 0])  # the two processes' means are far from 0
    return {
        "logits": z + bias,
        "labels": y,
        "features": rng.normal(size=(101, 5)),
        "weight": rng.normal(size=(6, 5)),
        "train_counts": np.array([300, 150, 80, 30, 10, 5]),
    }


@pytest.fixture(scope="module")
def directory(data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("processes")
    np.savez(directory / "data.npz", **data)
    run_two(two_processes.main, directory)
    return directory


@pytest.mark.parametrize("name", ["odd", "empty"])
def test_two_processes_are_one(data, directory, name):
    single = Evaluation(data["train_counts"], torch.from_numpy(data["weight"]))
    single.update(torch.from_numpy(data["logits"]), torch.from_numpy(data["labels"]), torch.from_numpy(data["features"]))
    expected = single.vectors() | single.scalars()
    for rank in (0, 1):
        got = np.load(directory / f"{name}-{rank}.npz")
        assert set(got) == set(expected)
        assert got["class_total"].tolist() == np.bincount(data["labels"], minlength=6).tolist()
        for key, value in expected.items():
            np.testing.assert_allclose(got[key], value, rtol=1e-8, atol=1e-8, err_msg=key)
