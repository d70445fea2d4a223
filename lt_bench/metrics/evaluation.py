"""Metrics of one view of one split, measured in one pass."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torchmetrics import Metric

from lt_bench.metrics._batches import check_logits
from lt_bench.metrics.accuracy import ClassAccuracy
from lt_bench.metrics.calibration import CalibrationError, NegativeLogLikelihood, Outcomes, sample_outcomes
from lt_bench.metrics.decomposition import NormDecomposition
from lt_bench.metrics.groups import ShotGroups, group_means, nan_mean, shot_groups
from lt_bench.metrics.logits import LogitMagnitude

Vector = NDArray[np.float64]


class Evaluation(nn.Module):
    """All metrics of a head on one evaluated set: O(K) states, exact on any number of processes.

    A class without training images is never predicted: its images count as errors of accuracy and calibration, and have no part in the likelihood (theirs is 0),
    LoMa and RSD, which run over the classes with training images.

    Every process must call `scalars()` or `vectors()`, also one that got no sample: the first of them merges the states.

    Args:
        train_counts: (K,) **training** images of each class; they decide who is many-, medium- and few-shot.
        weight: (K, D) of a linear head; with it, `update` needs features and `vectors` has the norm decomposition.

    Raises:
        UserError: counts or weight of a wrong shape.
    """

    trained: Tensor

    def __init__(self, train_counts: ArrayLike, weight: Tensor | None = None) -> None:
        super().__init__()
        self.groups = shot_groups(train_counts)
        self.num_classes = len(self.groups.many)
        self.accuracy = ClassAccuracy(self.num_classes)
        self.calibration = CalibrationError()
        self.likelihood = NegativeLogLikelihood()
        self.register_buffer("trained", torch.from_numpy(np.asarray(train_counts) > 0), persistent=False)
        self._all_trained = bool(self.trained.all())
        self.magnitude = LogitMagnitude(int(self.trained.sum()))
        self.decomposition = None if weight is None else NormDecomposition(weight)

    @torch.no_grad()
    def update(self, logits: Tensor, labels: Tensor, features: Tensor | None = None) -> Outcomes:
        """Add a batch, and return the softmax outcomes of its samples, for callers that keep predictions.

        Args:
            logits: (B, K), any floating dtype, B may be 0.
            labels: (B,), classes 0..K-1.
            features: (B, D), needed where the evaluation has a weight, else unused.

        Raises:
            UserError: shapes that do not fit.
            ValueError: the evaluation has a weight and no features came.
        """
        check_logits(logits, labels, self.num_classes)
        outcomes = sample_outcomes(logits, labels)
        self.accuracy.update(outcomes.predictions, labels)
        self.calibration.update(outcomes.confidence, outcomes.predictions == labels)
        if self._all_trained:
            self.likelihood.update(outcomes.log_likelihood)
            self.magnitude.update(logits, labels)
        else:  # a head gives classes without training images no finite logit
            within = self.trained[labels]
            self.likelihood.update(outcomes.log_likelihood[within])
            self.magnitude.update(logits[within][:, self.trained], (self.trained.cumsum(0) - 1)[labels[within]])
        if self.decomposition is not None:
            if features is None:
                raise ValueError("an Evaluation with a weight needs the features of every batch")
            self.decomposition.update(features, labels)
        return outcomes

    def _of_all(self, values: Tensor) -> Tensor:
        """Values (K',) of the classes with training images as those of all (K,), NaN for the others."""
        return values.new_full((self.num_classes,), torch.nan).masked_scatter(self.trained, values)

    def reset(self) -> None:
        """Forget every sample."""
        for metric in self.children():
            if isinstance(metric, Metric):
                metric.reset()

    def scalars(self) -> dict[str, float]:
        """Every scalar metric by name; accuracies and the calibration error are fractions, nll is in nats.

        Means over classes run over those present in the evaluated set; a group without any is NaN. `*_undefined` counts the classes without
        an RSD, because their LoMa is not positive or they have no samples; of those without training images it counts none. `*_balance` is the standard deviation (ddof 0) over |mean|.
        """
        correct, total = (counts.cpu().numpy() for counts in self.accuracy.compute())
        vectors = self.vectors()
        values = accuracy_scalars(correct, total, self.groups)
        values["nll"] = float(self.likelihood.compute())
        values["calibration_error"] = float(self.calibration.compute())
        for reading in ("column", "row"):
            values |= magnitude_scalars(vectors[f"loma_{reading}"], vectors[f"rsd_{reading}"], self.groups, reading)
            values[f"rsd_{reading}_undefined"] -= self.num_classes - self.magnitude.num_classes
        return values

    def vectors(self) -> dict[str, NDArray]:
        """Every per-class metric by name, (K,) each: `class_total` int64, the others float64, NaN for a class without samples."""
        correct, total = (counts.cpu().numpy() for counts in self.accuracy.compute())
        tensors = {name: self._of_all(value) for name, value in self.magnitude.compute().items()}
        if self.decomposition is not None:
            tensors |= self.decomposition.compute()
        return {"class_accuracy": _ratio(correct, total), "class_total": total} | {
            name: value.cpu().numpy() for name, value in tensors.items()
        }


def accuracy_scalars(correct: NDArray[np.int64], total: NDArray[np.int64], groups: ShotGroups) -> dict[str, float]:
    """Micro, macro, group and worst-class accuracy and the harmonic mean over classes (0 where a class has none right), from counts (K,)."""
    class_accuracy = _ratio(correct, total)
    accuracy = class_accuracy[total > 0]
    nothing = float("nan")
    harmonic = len(accuracy) / np.sum(1 / accuracy) if accuracy.size and accuracy.all() else 0.0
    return {
        "accuracy": float(correct.sum() / total.sum()) if accuracy.size else nothing,
        "macro_accuracy": nan_mean(accuracy),
        **group_means(class_accuracy, groups),
        "worst_class": float(accuracy.min()) if accuracy.size else nothing,
        "harmonic_mean": float(harmonic) if accuracy.size else nothing,
    }


def magnitude_scalars(loma: Vector, rsd: Vector, groups: ShotGroups, reading: str) -> dict[str, float]:
    """The ten scalars of one reading, from LoMa and RSD (K,)."""
    present = loma[~np.isnan(loma)]
    mean = nan_mean(loma)
    values = {f"loma_{reading}_mean": mean}
    values |= {f"loma_{reading}_{name}": value for name, value in group_means(loma, groups).items()}
    values[f"loma_{reading}_balance"] = float(present.std() / abs(mean)) if present.size and mean else float("nan")
    values[f"rsd_{reading}_mean"] = nan_mean(rsd)
    values |= {f"rsd_{reading}_{name}": value for name, value in group_means(rsd, groups).items()}
    values[f"rsd_{reading}_undefined"] = float(np.isnan(rsd).sum())
    return values


def _ratio(correct: NDArray[np.int64], total: NDArray[np.int64]) -> Vector:
    return np.divide(correct, total, out=np.full(len(total), np.nan), where=total > 0)
