"""Temperature, bias-corrected temperature and vector scaling against scipy's minimum."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax

from lt_bench.metrics.rescaling import RIDGE, rescaling

K = 4


@pytest.fixture
def sample():
    rng = np.random.default_rng(4)
    y = rng.integers(0, K, 300)
    z = 6 * (rng.normal(0, 1, (300, K)) + 1.5 * np.eye(K)[y]) * [1.0, 0.5, 2.0, 1.0] + [3.0, 0.0, -2.0, 1.0]
    return z, y


@pytest.mark.parametrize(("per_class", "shift"), [(False, False), (False, True), (True, True)])
def test_it_is_the_minimum(sample, per_class, shift):
    z, y = sample

    def objective(flat):
        scale = flat[:K] if per_class else flat[0]
        offset = (flat[K:] - flat[K:].mean()) * shift
        return -log_softmax(z * scale + offset, axis=1)[np.arange(len(y)), y].mean() + RIDGE / 2 * (offset**2).sum()

    best = minimize(objective, np.r_[np.full(K, 0.1), np.zeros(K)], method="BFGS", options={"gtol": 1e-9})
    scale, offset = rescaling(torch.from_numpy(z), torch.from_numpy(y), per_class=per_class, shift=shift)
    assert objective(np.r_[scale.numpy(), offset.numpy()]) == pytest.approx(best.fun, abs=1e-9)
    np.testing.assert_allclose(scale, best.x[:K] if per_class else np.full(K, best.x[0]), rtol=1e-3)
    assert (offset.abs().max() > 0) == shift


def test_a_temperature_undoes_a_factor(sample):
    z, y = (torch.from_numpy(part) for part in sample)
    one, _ = rescaling(z, y, per_class=False, shift=False)
    other, _ = rescaling(50 * z, y, per_class=False, shift=False)
    torch.testing.assert_close(other, one / 50, rtol=1e-5, atol=0)


def test_a_class_without_labels_is_shifted_down_and_not_away(sample):
    z, y = (torch.from_numpy(part) for part in sample)
    _, offset = rescaling(z[y < 3], y[y < 3], per_class=False, shift=True)
    assert offset.isfinite().all()
    assert offset.argmin() == 3
