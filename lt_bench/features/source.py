"""The interface of training features: stored in a cache, or computed from images on request."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class FeatureSource(Protocol):
    """Features of N training samples in V views; ``FeatureSplit`` is one."""

    @property
    def views(self) -> tuple[str, ...]:
        """V view names, ``plain`` first."""
        ...

    @property
    def labels(self) -> Tensor:
        """Labels (N,), int64."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of gathered features."""
        ...

    @property
    def trained(self) -> tuple[nn.Parameter, ...]:
        """Parameters of the backbone that are trained together with the head; none for frozen features."""
        ...

    @property
    def moves(self) -> bool:
        """Whether the features of a view change during a fit."""
        ...

    @property
    def work(self) -> float:
        """Approximate floating-point operations per sample; 0 for stored features."""
        ...

    def __len__(self) -> int: ...

    def gather(self, index: Tensor) -> Tensor:
        """Features of ``index`` (any shape, values v * N + i: view v of sample i), with a last dimension D."""
        ...

    def view(self, name: str) -> Tensor:
        """The features (N, D) of one view."""
        ...


def training_views(train: FeatureSource, views: str) -> tuple[int, ...]:
    """Positions of the stored views that ``Recipe.views`` means."""
    if views == "plain":
        return (train.views.index("plain"),)
    augmented = tuple(v for v, name in enumerate(train.views) if name != "plain")
    return augmented if views == "augmented" and augmented else tuple(range(len(train.views)))
