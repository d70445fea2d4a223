import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from lt_bench.core.errors import UserError
from lt_bench.metrics.calibration import CalibrationError, NegativeLogLikelihood, sample_outcomes


def test_outcomes_by_hand():
    got = sample_outcomes(torch.tensor([[math.log(3), 0.0], [0.0, math.log(4)]]), torch.tensor([0, 0]))
    assert got.predictions.tolist() == [0, 1]
    assert got.confidence.tolist() == pytest.approx([0.75, 0.8])
    assert got.log_likelihood.tolist() == pytest.approx([math.log(0.75), math.log(0.2)])


def test_logits_beyond_the_range_of_exp():
    got = sample_outcomes(torch.tensor([[5000.0, 0.0], [-5000.0, -4000.0]]), torch.tensor([1, 1]))
    assert got.confidence.tolist() == [1, 1]
    assert got.log_likelihood.tolist() == [-5000, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_outcomes_against_numpy(reference, dtype):
    z, y = reference.sample(1, 900, 400)  # more than one chunk
    logits = torch.from_numpy(z).to(dtype)
    got = sample_outcomes(logits, torch.from_numpy(y))
    p = reference.softmax(logits.double().numpy())
    np.testing.assert_array_equal(got.predictions, logits.double().numpy().argmax(1))
    np.testing.assert_allclose(got.confidence, p.max(1), rtol=1e-12)
    np.testing.assert_allclose(got.log_likelihood, np.log(p[np.arange(900), y]), rtol=1e-12)


def test_the_first_of_equal_logits_is_predicted():
    assert sample_outcomes(torch.zeros(2, 3), torch.tensor([0, 1])).predictions.tolist() == [0, 0]


def test_calibration_by_hand():
    # Two bins: (0, 0.5] holds 0.5 wrong; (0.5, 1] holds 0.6 right, 0.8 right, 1.0 wrong: |2 - 2.4|. Sum (0.5 + 0.4) / 4.
    metric = CalibrationError(bins=2)
    metric.update(torch.tensor([0.5, 0.6]), torch.tensor([False, True]))
    metric.update(torch.tensor([0.8, 1.0]), torch.tensor([True, False]))
    assert float(metric.compute()) == pytest.approx(0.225, abs=1e-7)


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 6), st.integers(0, 60))
def test_calibration_and_likelihood_against_numpy_in_two_batches(reference, seed, n, k, cut):
    z, y = reference.sample(seed, n, k)
    calibration, likelihood = CalibrationError(), NegativeLogLikelihood()
    for part in (slice(0, cut), slice(cut, None)):
        labels = torch.from_numpy(y[part])
        got = sample_outcomes(torch.from_numpy(z[part]), labels)
        calibration.update(got.confidence, got.predictions == labels)
        likelihood.update(got.log_likelihood)
    assert float(calibration.compute()) == pytest.approx(reference.expected_calibration_error(z, y), abs=1e-12)
    assert float(likelihood.compute()) == pytest.approx(reference.negative_log_likelihood(z, y), rel=1e-12)


def test_the_same_as_torchmetrics_where_no_confidence_lies_on_an_edge(reference):
    z, y = reference.sample(4, 500, 6)
    got = sample_outcomes(torch.from_numpy(z), torch.from_numpy(y))
    metric = CalibrationError()
    metric.update(got.confidence, got.predictions == torch.from_numpy(y))
    expected = multiclass_calibration_error(torch.from_numpy(reference.softmax(z)), torch.from_numpy(y), num_classes=6, n_bins=15)
    assert float(metric.compute()) == pytest.approx(float(expected), abs=1e-6)


def test_nothing_is_nan_and_zero_bins_are_refused():
    calibration, likelihood = CalibrationError(), NegativeLogLikelihood()
    got = sample_outcomes(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    calibration.update(got.confidence, got.predictions == 0)
    likelihood.update(got.log_likelihood)
    assert calibration.compute().isnan()
    assert likelihood.compute().isnan()
    with pytest.raises(UserError, match="bins=0"):
        CalibrationError(bins=0)
