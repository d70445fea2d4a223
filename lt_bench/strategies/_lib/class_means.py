"""Class means and the covariance within classes of the plain training view, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.remembered import remembered

ROWS = 1 << 14


def class_means(train: FeatureSource, num_classes: int) -> tuple[Tensor, Tensor]:
    """Mean feature of each class (K, D), 0 for one without samples, and samples of each class (K,)."""
    return remembered(train, ("class_means", num_classes), lambda: _class_means(train, num_classes))


def _class_means(train: FeatureSource, num_classes: int) -> tuple[Tensor, Tensor]:
    view = train.view("plain")
    counts = torch.bincount(train.labels, minlength=num_classes)
    sums = torch.zeros(num_classes, view.shape[1], dtype=torch.float64, device=view.device)
    for rows, labels in zip(view.split(ROWS), train.labels.split(ROWS), strict=True):
        sums.index_add_(0, labels, rows.double())
    return sums / counts.clamp_min(1).unsqueeze(1), counts


def pooled_covariance(train: FeatureSource, means: Tensor) -> Tensor:
    """Covariance (D, D) of the features about the mean of their class, divided by N."""
    view = train.view("plain")
    total = torch.zeros(view.shape[1], view.shape[1], dtype=torch.float64, device=view.device)
    for rows, labels in zip(view.split(ROWS), train.labels.split(ROWS), strict=True):
        centred = rows.double() - means[labels]
        total += centred.T @ centred
    return total / len(train)
