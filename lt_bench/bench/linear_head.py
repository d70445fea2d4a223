"""A stage-1 head for features that bring none: multinomial logistic regression, solved to its optimum."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.features.cache import FeatureSplit, FittedHead
from lt_bench.strategies._lib.lbfgs import CONVERGED, Moments, minimise, moments

RIDGES = (1000.0, 100.0, 10.0, 1.0)
"""Strengths of the ridge that validation chooses from, in units of the mean variance of a feature over the number of samples; 1 is a standard normal prior on the
weights of standardised features."""
ITERATIONS = 200


def fit_linear_head(train: FeatureSplit, val: FeatureSplit | None, num_classes: int) -> FittedHead:
    """The head that minimises cross-entropy on the plain view of the training rows plus a ridge on its weight, in float64.

    The strength of the ridge falls through ``RIDGES`` for as long as that makes the cross-entropy on validation smaller, classes weighted there as in training, since
    a stage-1 head knows their frequencies; it is 1 without validation.

    Args:
        train: the training rows.
        val: rows that may choose the ridge.
        num_classes: K.
    """
    of_features = moments(train, num_classes)
    unit = float(of_features.total.diagonal().mean()) / len(train)
    best, least = None, float("inf")
    for strength in RIDGES if val is not None else (1.0,):
        solution = minimise(_cross_entropy, train, _with_ridge(of_features, strength * unit), num_classes, strength * unit, ITERATIONS)
        loss = 0.0 if val is None else _validation_loss(solution.weight, solution.bias, train, val, num_classes)
        if loss >= least:
            break
        best, least = (strength, solution), loss
    assert best is not None, "cross-entropy of finite features is finite"
    strength, solution = best
    words = f"logistic regression on the training rows, ridge {strength:g}" + ("" if val is None else " chosen on validation")
    return FittedHead(solution.weight.float(), solution.bias.float(), words, solution.gradient_norm <= CONVERGED)


def _with_ridge(of_features: Moments, ridge: float) -> Moments:
    """The moments by which the solver whitens, with the ridge in every direction: what curves a direction without spread is the ridge alone."""
    return replace(
        of_features,
        total=of_features.total + ridge * torch.eye(len(of_features.total), dtype=of_features.total.dtype, device=of_features.total.device),
    )


def _cross_entropy(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.cross_entropy(features @ weight.T + bias, labels, reduction="none")


def _validation_loss(weight: Tensor, bias: Tensor, train: FeatureSplit, val: FeatureSplit, num_classes: int) -> float:
    """Cross-entropy (nats) on validation, each class weighted by its share of the training rows; classes without validation rows do not count."""
    losses = _cross_entropy(val.view("plain").double(), val.labels, weight, bias)
    shares = [torch.bincount(split.labels, minlength=num_classes).double() / len(split) for split in (train, val)]
    weights = (shares[0] / shares[1].clamp_min(torch.finfo(torch.float64).tiny))[val.labels]
    return float((weights * losses).sum() / weights.sum())
