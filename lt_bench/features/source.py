"""Where training features come from: stored ones, or made of images as they are asked for."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class FeatureSource(Protocol):
    """Features of N training samples in V views: what a fit needs of a ``FeatureSplit``."""

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
        """Where features come out."""
        ...

    @property
    def trained(self) -> tuple[nn.Parameter, ...]:
        """Parameters behind the features that are fitted together with the one head; none for frozen features."""
        ...

    @property
    def moves(self) -> bool:
        """Whether the features of a view change in the course of a fit."""
        ...

    @property
    def work(self) -> float:
        """Floating-point operations that the features of one sample cost, roughly; 0 where they are read from memory."""
        ...

    def __len__(self) -> int: ...

    def gather(self, index: Tensor) -> Tensor:
        """Features of ``index`` (any shape, values v * N + i: view v of sample i), with a last dimension D."""
        ...

    def view(self, name: str) -> Tensor:
        """The features (N, D) of one view."""
        ...
