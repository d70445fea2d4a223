"""The calibration of a fitted head, from validation features that its backbone has not seen."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Tensor, nn

from lt_bench.deploy.calibration import Calibration
from lt_bench.features.cache import FeatureCache
from lt_bench.metrics.rescaling import rescaling

SCALES = (0.05, 20.0)
"""Bounds on the scale of logits, which images that are all classified correctly would make infinite."""
MOST_LOGITS = 1 << 25
"""Largest number of validation logits that an export keeps, 128 MiB."""
ROWS = 4096
Numbers = NDArray[np.float64]


def calibration_of(head: nn.Module, cache: FeatureCache) -> Calibration | None:
    """The calibration of a head (D -> K) on a cache's validation features; None where there are none that the backbone has not seen.

    Images of classes without training rows, which the head cannot predict, are left out.
    """
    dataset = cache.manifest.dataset
    if not cache.has("val") or dataset.val_seen_by_backbone:
        return None
    split = cache.split("val", views=["plain"])
    with torch.inference_mode():
        logits = torch.cat([head(rows.float()) for rows in split.view("plain").split(ROWS)])
    counts = torch.tensor(dataset.train_counts)
    known = (counts > 0)[split.labels.long()]
    return fit_calibration(logits[known], split.labels.long()[known], counts) if bool(known.any()) else None


def fit_calibration(logits: Tensor, labels: Tensor, train_counts: Tensor) -> Calibration:
    """Temperature and bias-corrected temperature that minimise the cross-entropy of validation images, in float64.

    The shifts of bias-corrected temperature are ``b log n_c + t_c``, n_c the training images, with half the square of t_c over N added to the mean cross-entropy: a
    class with few validation images leaves the tendency b of all classes only as far as its images say.

    Args:
        logits: (N, K) of the head, N > 0; minus infinity for classes without training rows.
        labels: (N,), of classes with training rows.
        train_counts: (K,).
    """
    present = train_counts > 0
    numbers = present.cumsum(0) - 1
    z = logits[:, present].double()
    scale, _ = rescaling(z, numbers[labels], per_class=False, shift=False)
    temperature = 1 / float(scale[0].clamp(*SCALES))
    factor, offsets = bias_corrected(z.numpy(), numbers[labels].numpy(), train_counts[present].double().log().numpy(), 1 / temperature)
    shift, prior = torch.zeros(len(present), dtype=torch.float64), torch.zeros(len(present), dtype=torch.float64)
    shift[present] = torch.from_numpy(offsets)
    prior[present] = (z * factor + shift[present]).softmax(1).mean(0)
    kept = logits if logits.numel() <= MOST_LOGITS else None
    return Calibration(temperature, factor, shift, prior, labels, logits.argmax(1), kept)


def bias_corrected(z: Numbers, labels: NDArray[np.int64], log_counts: Numbers, start: float) -> tuple[float, Numbers]:
    """Scale s and shifts (K,), of mean 0, of ``fit_calibration``, for logits (N, K) that are finite; a convex problem, solved by L-BFGS-B from the scale ``start``."""
    N, K = z.shape
    z = z - z.mean(1, keepdims=True)
    along, rows = log_counts - log_counts.mean(), np.arange(N)

    def objective(x: Numbers) -> tuple[float, Numbers]:
        scores = x[0] * z + (x[1] * along + x[2:])
        logs = scores - logsumexp(scores, axis=1, keepdims=True)
        gradient = np.exp(logs)
        gradient[rows, labels] -= 1
        by_class = gradient.sum(0) / N
        loss = -logs[rows, labels].mean() + np.square(x[2:]).sum() / (2 * N)
        return float(loss), np.concatenate(([(gradient * z).sum() / N, by_class @ along], by_class + x[2:] / N))

    found = minimize(
        objective, np.concatenate(([start], np.zeros(K + 1))), jac=True, method="L-BFGS-B", bounds=[SCALES] + [(None, None)] * (K + 1),
        options={"maxiter": 1000, "maxfun": 2000, "ftol": 1e-13, "gtol": 1e-7},
    ).x  # fmt: skip
    shift = found[1] * along + found[2:]
    return float(found[0]), shift - shift.mean()
