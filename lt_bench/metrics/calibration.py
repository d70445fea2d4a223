"""Softmax outcomes of each sample, the expected calibration error and the mean negative log-likelihood."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lt_bench.core.errors import UserError
from lt_bench.metrics._batches import in_float64, row_chunks

BINS = 15
"""Bins of the expected calibration error."""


class Outcomes(NamedTuple):
    """One value a sample, (B,) each, on the device of the logits."""

    predictions: Tensor
    """long: the class with the largest logit, the first of equals."""
    confidence: Tensor
    """float64: softmax probability of the predicted class."""
    log_likelihood: Tensor
    """float64: log of the softmax probability of the label, in nats."""


def sample_outcomes(logits: Tensor, labels: Tensor) -> Outcomes:
    """Prediction, confidence and log-likelihood of each sample, from logits (B, K) of any floating dtype and labels (B,)."""
    largest, predictions = logits.max(1)
    largest = largest.double()
    # Shifted by the largest logit, the exponentials cannot overflow and that of the prediction is 1.
    sums = [in_float64(logits[rows]).sub_(largest[rows, None]).exp_().sum(1) for rows in row_chunks(logits)]
    total = torch.cat(sums) if sums else largest
    own = logits.gather(1, labels.long()[:, None]).squeeze(1).double()
    return Outcomes(predictions, 1 / total, own - largest - total.log())


def bins_of(confidence: Tensor, bins: int = BINS) -> Tensor:
    """The bin (B,) of each confidence (B,), 0..1: bin b holds (b / M, (b + 1) / M], the first also 0."""
    return (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)


class CalibrationError(Metric):
    """Expected calibration error (Naeini et al. 2015; Guo et al. 2017): sum over bins of (n_b / N) |accuracy_b - mean confidence_b|.

    The bins are ((b - 1) / M, b / M], of equal width, as in Guo et al. A fraction 0..1, NaN without samples; O(M) memory.
    """

    full_state_update = False
    count: Tensor
    gaps: Tensor

    def __init__(self, bins: int = BINS) -> None:
        super().__init__()
        if bins < 1:
            raise UserError(f"the calibration error needs at least one bin, got bins={bins}")
        self.bins = bins
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("gaps", torch.zeros(bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, confidence: Tensor, correct: Tensor) -> None:
        """Add the confidence (B,) of each prediction, 0..1, and whether it was correct (B,)."""
        self.gaps = self.gaps.scatter_add(0, bins_of(confidence, self.bins), correct.double() - confidence.double())
        self.count = self.count + len(confidence)

    def compute(self) -> Tensor:
        """Return the error, a float64 scalar."""
        return self.gaps.abs().sum() / self.count


class NegativeLogLikelihood(Metric):
    """Mean negative log-likelihood in nats, summed in float64; NaN without samples."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, log_likelihood: Tensor) -> None:
        """Add the log-probability (B,) of each sample's label."""
        self.total = self.total - log_likelihood.double().sum()
        self.count = self.count + len(log_likelihood)

    def compute(self) -> Tensor:
        """Return the mean, a float64 scalar."""
        return self.total / self.count
