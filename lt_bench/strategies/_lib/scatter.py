"""Scatter prototypes: class means of compressed, centred directions of features, whitened by the scatter of all of them. In float64."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from lt_bench.core.inference_heads import on_sphere, signed_power
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_means import ROWS
from lt_bench.strategies._lib.foreign_logits import logits_on_others
from lt_bench.strategies._lib.remembered import remembered

POWER = 0.5
"""Exponent of the power transform of each feature dimension, g(h) = sign(h) sqrt |h|."""


def directions(centre: Tensor, features: Tensor) -> Tensor:
    """u = g(h) - centre, brought to length 1, of features (..., D) in float64."""
    return on_sphere(signed_power(features.double(), POWER) - centre)


def scatter_prototypes(train: FeatureSource, num_classes: int, ridge: float) -> tuple[Tensor, Tensor]:
    """Centre (D,) of g(h), and rows v_c / s (K, D): ``v_c = (S + ridge tr(S) / D I)^-1 mean_c(u)``.

    Centre, S (the mean of u u') and the class means are over all training views; s is the mean over classes of the standard deviation of v_c u on the plain
    training images of other classes, so that the scores of a class without its own images have unit spread.
    """
    return remembered(train, ("scatter_prototypes", num_classes, ridge), lambda: _prototypes(train, num_classes, ridge))


def _prototypes(train: FeatureSource, num_classes: int, ridge: float) -> tuple[Tensor, Tensor]:
    centre, scatter, means = remembered(train, ("scatter", num_classes), lambda: _scatter(train, num_classes))
    ridged = scatter.clone()
    ridged.diagonal().add_(ridge * scatter.diagonal().mean())
    rows = torch.linalg.solve(ridged, means.T).T
    _, deviation = logits_on_others(rows, rows.new_zeros(num_classes), train, partial(directions, centre))
    return centre, rows / deviation.mean()


def _scatter(train: FeatureSource, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Centre (D,), scatter (D, D) and class means (K, D)."""
    views, counts = len(train.views), torch.bincount(train.labels, minlength=num_classes)
    centre = torch.stack([signed_power(rows.double(), POWER).sum(0) for rows, _ in _blocks(train)]).sum(0) / (views * len(train))
    scatter, sums = centre.new_zeros(len(centre), len(centre)), centre.new_zeros(num_classes, len(centre))
    for rows, labels in _blocks(train):
        u = directions(centre, rows)
        scatter.addmm_(u.T, u)
        sums.index_add_(0, labels, u)
    return centre, scatter / (views * len(train)), sums / (views * counts.clamp_min(1).unsqueeze(1))


def _blocks(train: FeatureSource) -> Iterator[tuple[Tensor, Tensor]]:
    for view in train.views:
        yield from zip(train.view(view).split(ROWS), train.labels.split(ROWS), strict=True)
