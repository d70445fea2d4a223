r"""Why a logit is large: `w_k . h = ||w_k|| ||h|| cos(w_k, h)`, each factor by class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torchmetrics import Metric

from lt_bench.errors import UserError
from lt_bench.metrics._batches import check_num_classes, check_pair, class_counts, class_sums, row_chunks


class NormDecomposition(Metric):
    """Classifier norm, mean feature norm and mean cosine(feature, own classifier row) of each class.

    `compute()` returns `{"weight_norm", "feature_norm", "cosine"}`, float64 (K,) each; the last two run over the samples of the class and
    are NaN for a class without any. The cosine with a zero vector counts as 0. The bias has no part in it. O(K) states; float64 sums.

    Args:
        weight: (K, D), the classifier's rows; copied, and moved with the module.

    Raises:
        UserError: the weight is not a matrix of at least two rows.
    """

    full_state_update = False
    weight: Tensor
    count: Tensor
    feature_norms: Tensor
    cosines: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        if weight.ndim != 2:
            raise UserError(f"the classifier's weight must have shape (classes, dimension), got {tuple(weight.shape)}")
        self.num_classes = check_num_classes(weight.shape[0])
        self.register_buffer("weight", weight.detach().clone(), persistent=False)
        self.add_state("count", torch.zeros(self.num_classes, dtype=torch.long), dist_reduce_fx="sum")
        for name in ("feature_norms", "cosines"):
            self.add_state(name, torch.zeros(self.num_classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add features (B, D) of any floating dtype with labels (B,); raises UserError where the shapes are wrong."""
        if features.ndim != 2 or features.shape[1] != self.weight.shape[1]:
            raise UserError(f"features must have shape (batch, {self.weight.shape[1]}) like the classifier, got {tuple(features.shape)}")
        check_pair(features, labels, "features")
        for rows in row_chunks(features):
            chunk, own = features[rows].double(), labels[rows]
            cosine = cosine_similarity(chunk, self.weight[own].double(), dim=1)
            self.feature_norms = self.feature_norms + class_sums(torch.linalg.vector_norm(chunk, dim=1), own, self.num_classes)
            self.cosines = self.cosines + class_sums(cosine, own, self.num_classes)
        self.count = self.count + class_counts(labels, self.num_classes)

    def compute(self) -> dict[str, Tensor]:
        """Return the three factors of each class, see the class."""
        return {
            "weight_norm": torch.linalg.vector_norm(self.weight.double(), dim=1),
            "feature_norm": self.feature_norms / self.count,
            "cosine": self.cosines / self.count,
        }
