r"""Factors of a logit: `w_k . h = ||w_k|| ||h|| cos(w_k, h)`, each factor by class."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lt_bench.core.errors import UserError
from lt_bench.metrics._batches import check_num_classes, check_pair, class_counts, class_sums, row_chunks


class Profile(NamedTuple):
    """Sums over the samples of each class: all that the decomposition of any classifier needs to know of the features.

    Attributes:
        samples: how many, long (K,).
        norms: sum of ||h||, float64 (K,).
        units: sum of h / ||h||, float64 (K, D); a zero vector adds nothing.
    """

    samples: Tensor
    norms: Tensor
    units: Tensor


class FeatureProfile(Metric):
    """Lengths and directions of features by class; `compute()` returns a `Profile`. Made once, it serves every head on the same features. O(K D) memory.

    Args:
        num_classes: K.
        dim: D.

    Raises:
        UserError: fewer than two classes.
    """

    full_state_update = False
    count: Tensor
    norms: Tensor
    units: Tensor

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        self.num_classes, self.dim = check_num_classes(num_classes), dim
        self.add_state("count", torch.zeros(num_classes, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("norms", torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("units", torch.zeros(num_classes, dim, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add features (B, D) of any floating dtype with labels (B,); raises UserError where the shapes are wrong."""
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise UserError(f"features must have shape (batch, {self.dim}) like the classifier, got {tuple(features.shape)}")
        check_pair(features, labels, "features")
        norms, units = self.norms.clone(), self.units.clone()
        for rows in row_chunks(features):
            chunk, own = features[rows].double(), labels[rows].long()
            length = torch.linalg.vector_norm(chunk, dim=1)
            norms += class_sums(length, own, self.num_classes)
            units.index_add_(0, own, chunk / _positive(length)[:, None])
        self.count = self.count + class_counts(labels, self.num_classes)
        self.norms, self.units = norms, units

    def compute(self) -> Profile:
        """Return the sums."""
        return Profile(self.count, self.norms, self.units)


class NormDecomposition(FeatureProfile):
    """Classifier norm, mean feature norm and mean cosine(feature, own classifier row) of each class.

    `compute()` returns `{"weight_norm", "feature_norm", "cosine"}`, float64 (K,) each; the last two run over the samples of the class and
    are NaN for a class without any. The cosine with a zero vector counts as 0. The bias has no part in it.

    Args:
        weight: (K, D), the classifier's rows; copied, and moved with the module.

    Raises:
        UserError: the weight is not a matrix of at least two rows.
    """

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        if weight.ndim != 2:
            raise UserError(f"the classifier's weight must have shape (classes, dimension), got {tuple(weight.shape)}")
        super().__init__(*weight.shape)
        self.register_buffer("weight", weight.detach().clone(), persistent=False)

    def compute(self) -> dict[str, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the three factors of each class, see the class."""
        return decomposed(self.weight, Profile(self.count, self.norms, self.units))


def decomposed(weight: Tensor, profile: Profile) -> dict[str, Tensor]:
    """The factors that `NormDecomposition` returns, of a classifier (K, D) on profiled features: a mean of cosines is a product with the mean direction."""
    rows = weight.double()
    norm = torch.linalg.vector_norm(rows, dim=1)
    cosines = torch.linalg.vecdot(rows, profile.units) / _positive(norm)
    return {"weight_norm": norm, "feature_norm": profile.norms / profile.samples, "cosine": cosines / profile.samples}


def _positive(length: Tensor) -> Tensor:
    return length.clamp_min(torch.finfo(torch.float64).tiny)
