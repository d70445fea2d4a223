"""Correct and total per class: all that micro, macro, worst-class and shot accuracies need."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from lt_bench.metrics._batches import check_num_classes, check_pair, class_counts, class_sums


class ClassAccuracy(Metric):
    """Correct predictions and samples of each class, in O(K): no confusion matrix (506 MB at K = 8,142).

    `compute()` returns `(correct, total)`, both long (K,); the accuracy of class k is `correct[k] / total[k]`.
    """

    full_state_update = False
    correct: Tensor
    total: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = check_num_classes(num_classes)
        self.add_state("correct", torch.zeros(num_classes, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(num_classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Count predicted classes (B,) against labels (B,); raises UserError where the shapes differ."""
        check_pair(predictions, labels, "predictions")
        self.correct = self.correct + class_sums((predictions == labels).long(), labels, self.num_classes)
        self.total = self.total + class_counts(labels, self.num_classes)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return `(correct, total)`, long (K,) each."""
        return self.correct, self.total
