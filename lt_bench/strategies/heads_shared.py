"""Inference heads that are more than a linear layer: plain modules that take tensors and need nothing of the suite."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NormalisedLinear(nn.Module):
    """A linear layer on features brought to the unit sphere: ``weight @ f / ||f|| + bias`` with ``f = scale * h + shift``.

    Args:
        weight: (K, D).
        bias: (K,) or None.
        scale: per dimension (D,), None for 1.
        shift: per dimension (D,), None for 0; minus the training mean for centred features.
        squash: divide by 1 + ||f|| instead, so that short features stay short (OLTR).
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, scale: Tensor | None = None, shift: Tensor | None = None, squash: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.register_buffer("scale", None if scale is None else scale.detach().clone())
        self.register_buffer("shift", None if shift is None else shift.detach().clone())
        self.squash = squash

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D)."""
        if self.scale is not None:
            features = features * self.scale
        if self.shift is not None:
            features = features + self.shift
        return F.linear(on_sphere(features, self.squash), self.weight, self.bias)


def on_sphere(features: Tensor, squash: bool = False) -> Tensor:
    """``f / ||f||``, or ``f / (1 + ||f||)``, along the last dimension; zero stays zero."""
    if squash:
        return features / (1 + torch.linalg.vector_norm(features, dim=-1, keepdim=True))
    return F.normalize(features, dim=-1)
