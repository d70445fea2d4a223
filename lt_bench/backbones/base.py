"""What every backbone is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """An encoder with a linear classifier on top.

    Attributes:
        fc: the classifier, D to K.
    """

    fc: nn.Linear

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Pooled features (B, D) of normalised images (B, 3, H, W): what the classifier sees."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K)."""
        return self.fc(self.features(images))
