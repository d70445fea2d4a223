"""Class means, the covariance within classes and linear discriminants of the plain training view, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.remembered import remembered

ROWS = 1 << 14


def blocks(train: FeatureSource, sphere: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of the plain view in float64 and their labels, ``ROWS`` at a time; with ``sphere`` each row brought to length 1."""
    for rows, labels in zip(train.view("plain").split(ROWS), train.labels.split(ROWS), strict=True):
        yield F.normalize(rows.double(), dim=1) if sphere else rows.double(), labels


def class_means(train: FeatureSource, num_classes: int, sphere: bool = False) -> tuple[Tensor, Tensor]:
    """Mean feature of each class (K, D), 0 for one without samples, and samples of each class (K,)."""
    return remembered(train, ("class_means", num_classes, sphere), lambda: _class_means(train, num_classes, sphere))


def _class_means(train: FeatureSource, num_classes: int, sphere: bool) -> tuple[Tensor, Tensor]:
    counts = torch.bincount(train.labels, minlength=num_classes)
    sums = torch.zeros(num_classes, train.view("plain").shape[1], dtype=torch.float64, device=counts.device)
    for rows, labels in blocks(train, sphere):
        sums.index_add_(0, labels, rows)
    return sums / counts.clamp_min(1).unsqueeze(1), counts


def class_shares(counts: Tensor, balance: float) -> Tensor:
    """Weight of each class (K,), float64, summing to 1: its samples' share at balance 0, an equal one for all at 1 (``n_c^(1 - balance)``); 0 without samples."""
    shares = torch.where(counts > 0, counts.double() ** (1 - balance), 0.0)
    return shares / shares.sum()


def within_covariance(train: FeatureSource, num_classes: int, sphere: bool = False, balance: float = 0.0) -> Tensor:
    """Mean over classes, weighted by ``class_shares``, of the covariance (D, D) of their features, divided by n_c: a class of one sample has none."""
    key = ("within_covariance", num_classes, sphere, balance)
    return remembered(train, key, lambda: _within_covariance(train, num_classes, sphere, balance))


def _within_covariance(train: FeatureSource, num_classes: int, sphere: bool, balance: float) -> Tensor:
    means, counts = class_means(train, num_classes, sphere)
    weights = (class_shares(counts, balance) / counts.clamp_min(1)).sqrt()
    total = torch.zeros(means.shape[1], means.shape[1], dtype=torch.float64, device=means.device)
    for rows, labels in blocks(train, sphere):
        centred = (rows - means[labels]).mul_(weights[labels].unsqueeze(1))
        total.addmm_(centred.T, centred)
    return total


def shrunk(covariance: Tensor, shrinkage: float) -> Tensor:
    """``(1 - s) S + s tr(S) / D I`` of a covariance (D, D); I where S is zero, as of classes of one sample each, so that the nearest mean decides."""
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    spread = covariance.diagonal().mean()
    return torch.where(spread > 0, (1 - shrinkage) * covariance + shrinkage * spread * identity, identity)


def linear_discriminant(means: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """``w_c = S^-1 m_c`` (K, D) and ``b_c = -m_c w_c / 2`` (K,) of class means (K, D) and their common covariance S (D, D)."""
    rows = torch.linalg.solve(covariance, means.T).T
    return rows, -(rows * means).sum(1) / 2
