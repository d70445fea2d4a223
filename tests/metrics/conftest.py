"""The metrics written out plainly in numpy, class by class and sample by sample; shares no line with the package."""

from types import SimpleNamespace

import numpy as np
import pytest


def magnitudes(z, y, sigma="within"):
    z, (n, k) = np.asarray(z, dtype=np.float64), z.shape
    out = {name: np.full(k, np.nan) for name in ("loma_column", "rsd_column", "loma_row", "rsd_row")}
    for c in range(k):
        own, other = z[y == c, c], z[y != c, c]
        if len(own) and len(other):
            loma = out["loma_column"][c] = own.mean() - other.mean()
            within = (len(own) * own.var() + len(other) * other.var()) / n
            spread = np.sqrt(within) if sigma == "within" else z[:, c].std()
            if loma > 0:
                out["rsd_column"][c] = spread / loma
        if len(own):
            difference = np.array([row[c] - np.delete(row, c).mean() for row in z[y == c]])
            loma = out["loma_row"][c] = difference.mean()
            if loma > 0:
                out["rsd_row"][c] = difference.std() / loma
    return out


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def expected_calibration_error(z, y, bins=15):
    p = softmax(np.asarray(z, dtype=np.float64))
    confidence, correct = p.max(1), p.argmax(1) == y
    error = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return error


def negative_log_likelihood(z, y):
    return -np.log(softmax(np.asarray(z, dtype=np.float64))[np.arange(len(y)), y]).mean()


def sample(seed, n, k, margin=1.5):
    """Logits float64 (N, K) in which most classes stand out, with labels (N,)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    z = rng.normal(size=(n, k)) * rng.uniform(0.5, 2, size=k)
    z[np.arange(n), y] += margin
    return z, y


@pytest.fixture(scope="session")
def reference():
    return SimpleNamespace(
        magnitudes=magnitudes,
        softmax=softmax,
        expected_calibration_error=expected_calibration_error,
        negative_log_likelihood=negative_log_likelihood,
        sample=sample,
    )
