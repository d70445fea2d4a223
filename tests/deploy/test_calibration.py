"""Calibration of an export and the prior it is told: optima, estimates and exchanges against SciPy and against data whose prior is known."""

import json

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from lt_bench.cli.main import main
from lt_bench.core.errors import UserError
from lt_bench.deploy.calibration import estimate
from lt_bench.deploy.classifier import load_classifier
from lt_bench.deploy.files import publish
from lt_bench.deploy.fit_calibration import fit_calibration
from lt_bench.features.cache import open_cache
from tests.deploy.test_export import record_of
from tests.deploy.test_files import described, staged

K = 5
TRAIN = np.array([400, 200, 100, 40, 10])
HEAD = np.array([0.2, 0.2, 0.2, 0.2, 0.2])
SHIFTED = np.array([0.05, 0.1, 0.15, 0.3, 0.4])


def drawn(prior, N, seed, temperature=0.5, noise=1.0):
    """Logits of a head that assumes shares HEAD and is too sure by ``1 / temperature``, and labels drawn with shares ``prior``: unit Gaussians around K points."""
    generator = np.random.default_rng(seed)
    points = np.random.default_rng(0).normal(size=(K, 4)) * 1.5
    labels = generator.choice(K, N, p=prior)
    x = points[labels] + noise * generator.normal(size=(N, 4))
    exact = -0.5 * np.square(x[:, None] - points).sum(-1) / noise**2 + np.log(HEAD)
    return torch.from_numpy((exact - exact.mean(1, keepdims=True)) / temperature).float(), torch.from_numpy(labels), exact


@pytest.fixture(scope="module")
def calibration():
    logits, labels, _ = drawn(TRAIN / TRAIN.sum(), 20_000, 1)
    return fit_calibration(logits, labels, torch.from_numpy(TRAIN))


def test_the_temperature_is_the_minimum_of_the_cross_entropy():
    logits, labels, _ = drawn(HEAD, 800, 2)
    z, y = logits.double().numpy(), labels.numpy()

    def nll(T):
        return -log_softmax(z / T, axis=1)[np.arange(len(y)), y].mean()

    expected = minimize_scalar(nll, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}).x
    assert fit_calibration(logits, labels, torch.from_numpy(TRAIN)).temperature == pytest.approx(expected, rel=1e-4)
    assert expected == pytest.approx(2.0, rel=0.15)


def test_bias_corrected_probabilities_are_the_exact_ones_and_their_mean_is_the_prior(calibration):
    _, _, exact = drawn(SHIFTED, 500, 3)
    logits = torch.from_numpy(exact * 2)
    prior = TRAIN / TRAIN.sum()
    expected = softmax(exact - np.log(HEAD) + np.log(prior), axis=1)
    assert np.abs(calibration.corrected(logits).softmax(1).numpy() - expected).mean() < 0.01
    shares = calibration.counts.numpy() / 20_000
    assert np.abs(calibration.prior.numpy() - shares).max() < 2e-3
    assert float(calibration.prior.sum()) == pytest.approx(1)


def test_a_class_without_validation_images_follows_the_tendency_of_the_others():
    """The head assumes equal shares and validation is long-tailed: without the tendency, the class would keep the share of a common one."""
    logits, labels, _ = drawn(TRAIN / TRAIN.sum(), 400, 4)
    rest = labels != 4
    fitted = fit_calibration(logits[rest], labels[rest], torch.from_numpy(TRAIN))
    assert float(fitted.shift[4]) < float(fitted.shift[3]) < float(fitted.shift[0])
    assert 1e-4 < float(fitted.prior[4]) < 0.03


def test_classes_without_training_images_stay_impossible():
    logits, labels, _ = drawn(HEAD, 600, 5)
    logits[:, 2] = -torch.inf
    rest = labels != 2
    counts = torch.from_numpy(np.where(np.arange(K) == 2, 0, TRAIN))
    fitted = fit_calibration(logits[rest], labels[rest], counts)
    assert fitted.prior[2] == 0
    assert torch.isfinite(fitted.shift).all()
    for method in ("em", "black_box"):
        assert float(estimate(fitted, logits[rest], method).shares[2]) == 0


@pytest.mark.parametrize(("method", "within"), [("em", 0.02), ("black_box", 0.04)])
@pytest.mark.parametrize("prior", [SHIFTED, HEAD, TRAIN / TRAIN.sum()])
def test_estimates_recover_the_prior_of_shifted_data(method, within, prior, calibration):
    logits, labels, _ = drawn(prior, 6000, 6)
    found = estimate(calibration, logits, method)
    actual = np.bincount(labels.numpy(), minlength=K) / len(labels)
    assert found.doubts == ()
    assert float(found.shares.sum()) == pytest.approx(1)
    assert np.abs(found.shares.numpy() - actual).max() < within


def test_em_is_the_maximum_of_the_likelihood(calibration):
    """No other shares on a grid around the estimate make the inputs more likely."""
    logits, _, _ = drawn(SHIFTED, 500, 7)
    likelihood = (calibration.corrected(logits).softmax(1) / calibration.prior).numpy()
    shares = estimate(calibration, logits).shares.numpy()
    best = np.log(likelihood @ shares).sum()
    for seed in range(50):
        other = shares * np.exp(0.05 * np.random.default_rng(seed).normal(size=K))
        assert np.log(likelihood @ (other / other.sum())).sum() < best


def test_doubts_are_said(calibration):
    logits, labels, _ = drawn(SHIFTED, 3, 8)
    assert "3 inputs can say little" in " ".join(estimate(calibration, logits).doubts)
    assert estimate(calibration, drawn(SHIFTED, 80, 8)[0]).doubts == ()
    assert "79 inputs can say little of the shares of 5 classes; 80 or more" in " ".join(
        estimate(calibration, drawn(SHIFTED, 79, 8)[0]).doubts
    )
    few, of, _ = drawn(TRAIN / TRAIN.sum(), 400, 3)
    scarce = fit_calibration(few, of, torch.from_numpy(TRAIN))
    assert 0 < scarce.counts[4] < 10 <= scarce.counts[3]
    assert estimate(scarce, few).doubts == ("classes with fewer than 10 validation images, whose shares are hardly known: 1",)
    noisy, labels, _ = drawn(HEAD, 2000, 9)
    noisy = noisy[torch.randperm(len(noisy), generator=torch.Generator().manual_seed(0))]
    hopeless = fit_calibration(noisy, labels, torch.from_numpy(TRAIN))
    assert "confuses classes too much" in " ".join(estimate(hopeless, noisy, "black_box").doubts)
    rest = labels != 4
    assert (
        "classes without a validation image, whose shares are guessed: 1"
        in estimate(fit_calibration(noisy[rest], labels[rest], torch.from_numpy(TRAIN)), noisy).doubts[0]
    )
    with pytest.raises(UserError, match="known are em, black_box"):
        estimate(calibration, logits, "guess")


@pytest.fixture(scope="module")
def exported(small_cache, make_cache, tmp_path_factory):
    """A head exported from a cache with unseen validation rows, and that cache."""
    folder = tmp_path_factory.mktemp("calibrated")
    cache = make_cache(folder / "cache", transform={"evaluation": "imported features", "augmentation": ""})
    record = record_of(cache, "crt", folder / "results")
    assert main(["export", "--record", str(record), "--cache", str(cache), "--out", str(folder / "out")]) == 0
    return folder / "out", open_cache(cache)


def test_an_export_is_calibrated_on_validation_and_says_what_it_takes(exported):
    model, validation = load_classifier(exported[0]), exported[1].split("val")
    calibration, written = model.calibration, json.loads((exported[0] / "classifier.json").read_text())
    assert calibration is not None
    logits = model(validation.view("plain"))
    again = fit_calibration(logits, validation.labels.long(), torch.tensor(exported[1].manifest.dataset.train_counts))
    assert calibration.temperature == pytest.approx(again.temperature, rel=1e-6)
    assert torch.allclose(calibration.prior, again.prior, atol=1e-9)
    assert written["calibration"]["counts"] == [5, 5, 5, 5, 5, 0]
    assert written["contract"]["input"]["shape"] == ["batch", 8]
    features = exported[1].split("test").view("plain")
    raw = model(features)
    assert torch.allclose(model.probabilities(raw), (raw.double() / calibration.temperature).softmax(1))
    assert [one.label for one in model.predict(features)] == [f"class {k}" for k in raw.argmax(1).tolist()]


def test_a_prior_is_exchanged_for_the_assumed_one(exported):
    model = load_classifier(exported[0])
    features = exported[1].split("test").view("plain")
    calibration = model.calibration
    wanted = np.array([1.0, 2, 3, 4, 5, 6])
    model.set_prior(wanted.tolist())
    scores = model(features).double().numpy() * calibration.scale + calibration.shift.numpy()
    expected = softmax(scores - np.log(calibration.prior.numpy()) + np.log(wanted / 21), axis=1)
    assert np.allclose(model.probabilities(model(features)).numpy(), expected, atol=1e-12)
    estimated = model.estimate_prior(features, batch_size=7)
    assert torch.equal(estimated.shares, estimate(calibration, model(features)).shares)
    model.set_prior(None)
    assert model.prior is None
    for wrong in ([1.0, 2], [-1.0, 1, 1, 1, 1, 1], [0.0] * 6, "flat"):
        with pytest.raises(UserError, match="prior"):
            model.set_prior(wrong)


def test_an_export_without_calibration_says_so(tmp_path):
    publish(tmp_path / "out", staged(tmp_path / "new"), described())
    model = load_classifier(tmp_path / "out")
    with pytest.raises(UserError, match="not calibrated"):
        model.estimate_prior(torch.rand(4, 4))
    with pytest.raises(UserError, match="state the prior that its probabilities assume"):
        model.set_prior("uniform")
    logits = model(torch.rand(4, 4))
    model.set_prior([3.0, 2, 1], assumed="uniform")
    assert torch.allclose(model.probabilities(logits), (logits.double() + torch.tensor([3.0, 2, 1]).double().log()).softmax(1))
