import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lt_bench.core.errors import UserError
from lt_bench.metrics.logits import LogitMagnitude

NAN = float("nan")
NAMES = ("loma_column", "rsd_column", "loma_row", "rsd_row")
shapes = given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 6))


def measure(z, y, cuts=(), sigma="within"):
    metric = LogitMagnitude(z.shape[1], sigma=sigma)
    z, y = torch.as_tensor(z), torch.as_tensor(y)
    for part_z, part_y in zip(torch.tensor_split(z, tuple(cuts)), torch.tensor_split(y, tuple(cuts)), strict=True):
        metric.update(part_z, part_y)
    return {name: value.numpy() for name, value in metric.compute().items()}


def assert_same(got, expected, names=NAMES, rtol=1e-9, atol=1e-9):
    for name in names:
        np.testing.assert_allclose(got[name], expected[name], rtol=rtol, atol=atol, err_msg=name)


Z = np.array([[4.0, 1.0, 1.0], [2.0, 0.0, 4.0], [0.0, 3.0, 3.0], [0.0, 1.0, 2.0]])
Y = np.array([0, 0, 1, 1])


def test_both_readings_by_hand():
    # Column 0: own 4, 2 (mean 3), others 0, 0; SS within 2. Column 1: own 3, 1 (2), others 1, 0 (0.5); SS within 2.5.
    # Rows: 4 - 1 = 3, 2 - 2 = 0; 3 - 1.5 = 1.5, 1 - 1 = 0. Class 2 has no sample.
    got = measure(Z, Y)
    expected = {
        "loma_column": [3, 1.5, NAN],
        "rsd_column": [np.sqrt(2 / 4) / 3, np.sqrt(2.5 / 4) / 1.5, NAN],
        "loma_row": [1.5, 0.75, NAN],
        "rsd_row": [1, 1, NAN],
    }
    assert_same(got, expected, rtol=1e-14)


def test_sigma_all_by_hand():
    # Column 0 is 4, 2, 0, 0: mean 1.5, variance 11 / 4; the row reading does not change.
    got = measure(Z, Y, sigma="all")
    assert got["rsd_column"][0] == pytest.approx(np.sqrt(11 / 4) / 3, rel=1e-14)
    assert_same(got, measure(Z, Y), ("loma_column", "loma_row", "rsd_row"))


def test_loma_that_is_not_positive_has_no_rsd():
    got = measure(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([0, 1]))
    assert got["loma_column"].tolist() == [-1, 0]
    assert got["loma_row"].tolist() == [-1, 0]
    assert np.isnan(got["rsd_column"]).all()
    assert np.isnan(got["rsd_row"]).all()


def test_a_class_that_is_the_whole_set_has_no_column_reading():
    got = measure(np.array([[3.0, 1.0], [2.0, 1.0]]), np.array([0, 0]))
    assert np.isnan(got["loma_column"]).all()
    assert got["loma_row"][0] == 1.5
    assert got["rsd_row"][0] == pytest.approx(0.5 / 1.5)


def with_deviations(readings):
    """The readings with RSD times LoMa in place of RSD: a deviation has the logits' error, which RSD divides by a LoMa that may be near to 0."""
    deviations = {f"rsd_{of}": readings[f"rsd_{of}"] * readings[f"loma_{of}"] for of in ("column", "row")}
    return {**readings, **deviations}


@shapes
def test_against_numpy_with_absent_classes(reference, seed, n, k):
    z, y = reference.sample(seed, n, k)
    for sigma in ("within", "all"):
        assert_same(with_deviations(measure(z, y, sigma=sigma)), with_deviations(reference.magnitudes(z, y, sigma)), atol=1e-7)


@given(st.integers(0, 10_000), st.integers(0, 40), st.integers(0, 40))
def test_the_batches_do_not_matter(reference, seed, first, second):
    z, y = reference.sample(seed, 40, 5)
    assert_same(measure(z, y, cuts=sorted((first, second))), measure(z, y))


def test_one_sample_at_a_time(reference):
    z, y = reference.sample(3, 60, 5)
    assert_same(measure(z, y, cuts=range(1, 60)), reference.magnitudes(z, y))


@given(st.integers(0, 10_000))
def test_the_order_of_samples_does_not_matter(reference, seed):
    z, y = reference.sample(seed, 40, 5)
    order = np.random.default_rng(seed).permutation(40)
    assert_same(measure(z[order], y[order]), measure(z, y))


@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_temperature_scales_loma_and_leaves_rsd(reference, seed, temperature):
    z, y = reference.sample(seed, 40, 5)
    before, after = measure(z, y), measure(z / temperature, y)
    assume(min(np.nanmin(abs(before[name])) for name in NAMES) > 1e-3)
    for name in NAMES:
        before[name] = before[name] / temperature if name.startswith("loma") else before[name]
    assert_same(after, before, rtol=1e-6)


@given(st.integers(0, 10_000))
def test_a_bias_of_a_class_moves_the_row_reading_only(reference, seed):
    z, y = reference.sample(seed, 60, 4)
    bias = np.random.default_rng(seed + 1).normal(scale=3, size=4)
    before, after = measure(z, y), measure(z + bias, y)
    assert_same(after, before, ("loma_column",))
    expected = before["loma_row"] + bias - (bias.sum() - bias) / 3
    np.testing.assert_allclose(after["loma_row"], expected, atol=1e-9)
    assert np.nanmax(abs(after["loma_row"] - before["loma_row"])) > 1e-3


@given(st.integers(0, 10_000))
def test_a_shift_of_a_sample_moves_the_column_reading_only(reference, seed):
    z, y = reference.sample(seed, 60, 4)
    shift = np.random.default_rng(seed + 1).normal(scale=3, size=(60, 1))
    before, after = measure(z, y), measure(z + shift, y)
    assert_same(after, before, ("loma_row",))
    assert np.nanmax(abs(after["loma_column"] - before["loma_column"])) > 1e-3


@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(1, 6))
def test_both_readings_have_the_same_mean_on_a_balanced_set(seed, k, each):
    rng = np.random.default_rng(seed)
    got = measure(rng.normal(size=(k * each, k)) * rng.uniform(0.1, 5, size=k), np.repeat(np.arange(k), each))
    assert got["loma_column"].mean() == pytest.approx(got["loma_row"].mean(), abs=1e-10)


def test_two_classes(reference):
    z, y = reference.sample(5, 31, 2)
    got = measure(z, y, cuts=[7])
    assert_same(got, reference.magnitudes(z, y))
    assert got["loma_row"][0] == pytest.approx((z[y == 0, 0] - z[y == 0, 1]).mean())


@pytest.mark.parametrize("cuts", [[], [1], [250, 251]])
def test_a_huge_bias_of_a_class_does_not_cancel_the_variance(reference, cuts):
    z, y = reference.sample(7, 500, 3)
    biased = z + np.array([1e8, -1e8, 0])
    # The loss is the input's own rounding, 1.5e-8 at 1e8; sums of squares would lose every digit of the variance.
    expected = reference.magnitudes(z, y)
    assert_same(measure(biased, y, cuts), expected, ("loma_column", "rsd_column"), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_dtype_is_summed_in_float64(reference, dtype):
    z, y = reference.sample(11, 3000, 4, margin=6)
    rounded = torch.from_numpy(z + 50).to(dtype)
    kept = rounded.clone()
    got = measure(rounded, y)
    assert torch.equal(rounded, kept)
    assert_same(got, reference.magnitudes(rounded.double().numpy(), y), rtol=1e-10)


def test_many_chunks_and_integer_labels_of_32_bits(reference):
    z, y = reference.sample(13, 700, 1500)
    expected = measure(z, y, cuts=range(50, 700, 50))
    metric = LogitMagnitude(1500)
    metric.update(torch.from_numpy(z), torch.from_numpy(y.astype(np.int32)))
    assert_same({name: value.numpy() for name, value in metric.compute().items()}, expected)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_sigma_all_is_within_and_between(reference, seed):
    z, y = reference.sample(seed, 50, 4, margin=20)
    within, everything = measure(z, y), measure(z, y, sigma="all")
    share = np.bincount(y, minlength=4) / 50
    loma = within["loma_column"]
    expected = np.sqrt((within["rsd_column"] * loma) ** 2 + share * (1 - share) * loma**2) / loma
    np.testing.assert_allclose(everything["rsd_column"], expected, rtol=1e-9)


def test_state_is_linear_in_the_number_of_classes_and_resets():
    metric = LogitMagnitude(8142)
    metric.update(torch.zeros(2, 8142), torch.tensor([0, 1]))
    assert sum(state.numel() for state in metric.metric_state.values()) == 9 * 8142
    metric.reset()
    metric.update(torch.zeros(0, 8142), torch.zeros(0, dtype=torch.long))
    assert all(value.isnan().all() for value in metric.compute().values())


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(2, 4), torch.zeros(2, dtype=torch.long), r"shape \(batch, 3\)"),
        (torch.zeros(2, 3, 1), torch.zeros(2, dtype=torch.long), r"shape \(batch, 3\)"),
        (torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, dtype=torch.long), "floating-point"),
        (torch.zeros(2, 3), torch.zeros(1, dtype=torch.long), r"labels of shape \(2,\)"),
    ],
)
def test_wrong_shapes_are_named_in_one_line(logits, labels, message):
    with pytest.raises(UserError, match=message) as error:
        LogitMagnitude(3).update(logits, labels)
    assert "\n" not in str(error.value)


def test_an_unknown_sigma_is_refused():
    with pytest.raises(UserError, match="within, all"):
        LogitMagnitude(3, sigma="pooled")
