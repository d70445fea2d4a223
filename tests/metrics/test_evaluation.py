import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lt_bench.core.errors import UserError
from lt_bench.metrics.evaluation import Evaluation

GROUPS = ("many", "medium", "few")
SCALARS = {"accuracy", "macro_accuracy", *GROUPS, "worst_class", "harmonic_mean", "nll", "calibration_error"} | {
    f"{metric}_{reading}_{name}"
    for reading in ("column", "row")
    for metric, names in {"loma": ("mean", *GROUPS, "balance"), "rsd": ("mean", *GROUPS, "undefined")}.items()
    for name in names
}
VECTORS = {"class_accuracy", "class_total", "loma_column", "rsd_column", "loma_row", "rsd_row"}


def evaluate(z, y, train_counts, batch=10_000):
    evaluation = Evaluation(train_counts)
    for logits, labels in zip(torch.as_tensor(z).split(batch), torch.as_tensor(y).split(batch), strict=True):
        evaluation.update(logits, labels)
    return evaluation


def logits_for(predictions, k):
    return torch.nn.functional.one_hot(torch.tensor(predictions), k).double()


def test_accuracies_by_hand():
    # Class 0: 2 of 3, class 1: 1 of 2, class 2: 1 of 1, class 3 (few) absent.
    got = evaluate(logits_for([0, 0, 1, 1, 0, 2], 4), torch.tensor([0, 0, 0, 1, 1, 2]), [200, 101, 50, 3]).scalars()
    assert got["accuracy"] == 4 / 6
    assert got["macro_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert got["many"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert got["medium"] == 1
    assert np.isnan(got["few"])
    assert got["worst_class"] == 0.5
    assert got["harmonic_mean"] == pytest.approx(3 / (1.5 + 2 + 1))


def test_one_class_without_a_hit_makes_the_harmonic_mean_zero():
    got = evaluate(logits_for([0, 0], 2), torch.tensor([0, 1]), [5, 5]).scalars()
    assert got["harmonic_mean"] == got["worst_class"] == 0
    assert got["accuracy"] == 0.5


def test_magnitude_scalars_by_hand():
    # Columns: LoMa 3, 1.5 and -1 (own 1; others 2, 2 and 2); class 3 absent.
    z = torch.tensor([[4.0, 0, 2, 0], [2.0, 0, 2, 0], [0.0, 1.5, 2, 0], [0.0, 0, 1, 0]])
    got = evaluate(z, torch.tensor([0, 0, 1, 2]), [200, 150, 50, 3]).scalars()
    values = np.array([3, 1.5, -1])
    assert got["loma_column_mean"] == pytest.approx(values.mean())
    assert got["loma_column_many"] == pytest.approx(2.25)
    assert got["loma_column_medium"] == pytest.approx(-1)
    assert np.isnan(got["loma_column_few"])
    assert got["loma_column_balance"] == pytest.approx(np.sqrt(((values - values.mean()) ** 2).mean()) / values.mean())
    # RSD: column 0 has SS within 2 of 4 samples; column 1 none; class 2 is negative and class 3 absent.
    assert got["rsd_column_many"] == pytest.approx(np.sqrt(2 / 4) / 3 / 2, abs=1e-7)
    assert got["rsd_column_mean"] == got["rsd_column_many"]
    assert np.isnan(got["rsd_column_medium"])
    assert got["rsd_column_undefined"] == 2


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 6), st.integers(1, 60))
def test_against_numpy_in_batches(reference, seed, n, k, batch):
    z, y = reference.sample(seed, n, k)
    counts = np.random.default_rng(seed).choice([5, 50, 500], size=k)
    evaluation = evaluate(z, y, counts, batch)
    scalars, vectors = evaluation.scalars(), evaluation.vectors()
    assert set(scalars) == SCALARS
    assert set(vectors) == VECTORS
    hit = z.argmax(1) == y
    expected = {c: hit[y == c].mean() for c in range(k) if (y == c).any()}
    assert scalars["accuracy"] == hit.mean()
    assert scalars["macro_accuracy"] == pytest.approx(np.mean(list(expected.values())))
    assert scalars["nll"] == pytest.approx(reference.negative_log_likelihood(z, y))
    assert scalars["calibration_error"] == pytest.approx(reference.expected_calibration_error(z, y), abs=1e-12)
    for name, size in (("many", 500), ("medium", 50), ("few", 5)):
        members = [value for c, value in expected.items() if counts[c] == size]
        assert scalars[name] == pytest.approx(np.mean(members) if members else np.nan, nan_ok=True)
    for name, values in reference.magnitudes(z, y).items():
        np.testing.assert_allclose(vectors[name], values, atol=1e-7, err_msg=name)
        metric, reading = name.split("_")
        defined = values[~np.isnan(values)]
        assert scalars[f"{name}_mean"] == pytest.approx(defined.mean() if len(defined) else np.nan, abs=1e-7, nan_ok=True)
        if metric == "rsd":
            assert scalars[f"rsd_{reading}_undefined"] == k - len(defined)


def test_an_empty_set_is_nan_and_raises_nothing():
    evaluation = Evaluation([5, 50])
    evaluation.update(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    scalars = evaluation.scalars()
    assert scalars["rsd_column_undefined"] == scalars["rsd_row_undefined"] == 2
    assert all(np.isnan(value) for name, value in scalars.items() if not name.endswith("undefined"))


def test_types_are_plain():
    evaluation = evaluate(logits_for([0, 1], 2), torch.tensor([0, 1]), [5, 50])
    assert all(type(value) is float for value in evaluation.scalars().values())
    assert all(isinstance(value, np.ndarray) and value.shape == (2,) for value in evaluation.vectors().values())
    assert evaluation.vectors()["class_total"].dtype == np.int64


def test_a_weight_brings_the_decomposition_and_needs_features():
    evaluation = Evaluation([5, 50], weight=torch.eye(2))
    outcomes = evaluation.update(torch.eye(2), torch.tensor([0, 1]), torch.eye(2))
    assert outcomes.predictions.tolist() == [0, 1]
    vectors = evaluation.vectors()
    assert set(vectors) == VECTORS | {"weight_norm", "feature_norm", "cosine"}
    assert vectors["cosine"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="features"):
        evaluation.update(torch.eye(2), torch.tensor([0, 1]))


def test_reset_forgets(reference):
    z, y = reference.sample(2, 30, 3)
    evaluation = evaluate(z, y, [5, 50, 500])
    first = evaluation.scalars()
    evaluation.update(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]))
    assert evaluation.scalars() != first
    evaluation.reset()
    evaluation.update(torch.from_numpy(z), torch.from_numpy(y))
    assert evaluation.scalars() == pytest.approx(first, nan_ok=True)


def test_logits_of_another_number_of_classes_are_refused():
    with pytest.raises(UserError, match=r"shape \(batch, 3\)"):
        Evaluation([1, 2, 3]).update(torch.zeros(2, 4), torch.tensor([0, 1]))


def test_it_keeps_no_gradient_and_nothing_that_grows_with_samples(reference):
    z, y = reference.sample(2, 300, 3)
    evaluation = Evaluation([5, 50, 500])
    evaluation.update(torch.from_numpy(z).requires_grad_(), torch.from_numpy(y))
    states = [state for metric in evaluation.children() for state in metric.metric_state.values()]
    assert all(not state.requires_grad and state.numel() <= 9 * 3 for state in states)


def test_batches_inside_and_outside_inference_mode(reference):
    z, y = reference.sample(2, 30, 3)
    evaluation = Evaluation([5, 50, 500])
    with torch.inference_mode():
        evaluation.update(torch.from_numpy(z[:10]), torch.from_numpy(y[:10]))
    evaluation.update(torch.from_numpy(z[10:]), torch.from_numpy(y[10:]))
    assert evaluation.scalars() == pytest.approx(evaluate(z, y, [5, 50, 500]).scalars(), nan_ok=True)
