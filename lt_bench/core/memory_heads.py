"""Inference heads that keep directions of training samples: neighbours and quadratic discriminants. Plain modules of tensors: they use nothing of the suite."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 1 << 12
"""Kept rows that are compared with a batch at a time, so that no table of all pairs arises."""


class Neighbours(nn.Module):
    """A weighted vote of the k nearest training features by cosine: ``z_c = log sum_i v_c exp((cos(h, h_i) - 1) / T)`` over those i of class c.

    A class without a neighbour has the logarithm of the smallest number.

    Args:
        features: of the training samples (N, D), each of length 1.
        labels: of those (N,).
        weight: v (K,), of the votes of each class.
        k: neighbours; all N where there are fewer.
        temperature: T.
    """

    features: Tensor
    labels: Tensor
    weight: Tensor
    options: ClassVar[tuple[str, ...]] = ("k", "temperature")

    def __init__(self, features: Tensor, labels: Tensor, weight: Tensor, k: int, temperature: float) -> None:
        super().__init__()
        self.k, self.temperature = k, temperature
        for name, tensor in {"features": features, "labels": labels, "weight": weight}.items():
            self.register_buffer(name, tensor.detach())  # not copied: the training features may be most of the memory

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D)."""
        queries, k = F.normalize(features, dim=-1), min(self.k, len(self.features))
        nearest, classes = queries.new_empty(queries.shape[0], 0), self.labels.new_empty(queries.shape[0], 0)
        for rows, labels in zip(self.features.split(ROWS), self.labels.split(ROWS), strict=True):
            cosines, index = (queries @ rows.T).topk(min(k, len(rows)), dim=1)
            nearest, classes = torch.cat([nearest, cosines], 1), torch.cat([classes, labels[index]], 1)
            nearest, index = nearest.topk(min(k, nearest.shape[1]), dim=1)
            classes = classes.gather(1, index)
        votes = ((nearest - 1) / self.temperature).exp() * self.weight[classes]
        table = votes.new_zeros(queries.shape[0], len(self.weight)).scatter_add(1, classes, votes)
        return table.clamp_min(torch.finfo(table.dtype).tiny).log()


class Quadratic(nn.Module):
    """Quadratic discriminants with covariances of low rank beside a common one.

    ``z_c = w_c u + b_c - s_c / 2 ||u||^2 + 1/2 sum_r (p_r u - o_r)^2`` over the directions r of class c, ``u = whiten (h - centre)``.

    Args:
        weight: w (K, D).
        bias: b (K,).
        scale: s (K,).
        directions: p (R, D).
        offsets: o (R,).
        owners: class of each direction (R,).
        whiten: (D, D).
        centre: (D,).
        sphere: whether features are brought to length 1 first.
    """

    options: ClassVar[tuple[str, ...]] = ("sphere",)
    weight: Tensor
    bias: Tensor
    scale: Tensor
    directions: Tensor
    offsets: Tensor
    owners: Tensor
    whiten: Tensor
    centre: Tensor

    def __init__(
        self, weight: Tensor, bias: Tensor, scale: Tensor, directions: Tensor, offsets: Tensor, owners: Tensor, whiten: Tensor,
        centre: Tensor, sphere: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.sphere = sphere
        tensors = {
            "weight": weight, "bias": bias, "scale": scale, "directions": directions, "offsets": offsets, "owners": owners, "whiten": whiten,
            "centre": centre,
        }  # fmt: skip
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach())

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D)."""
        features = F.normalize(features, dim=-1) if self.sphere else features
        white = (features - self.centre) @ self.whiten.T
        logits = F.linear(white, self.weight, self.bias) - self.scale / 2 * white.square().sum(1, keepdim=True)
        for rows, offsets, owners in zip(self.directions.split(ROWS), self.offsets.split(ROWS), self.owners.split(ROWS), strict=True):
            logits = logits.index_add(1, owners, (F.linear(white, rows) - offsets).square() / 2)
        return logits
