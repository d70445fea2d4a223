"""Abstention of an exported classifier: thresholds at a stated precision, and sets of classes at a stated coverage, both class by class from validation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.deploy.classifier import Classifier

FEWEST = 10
"""Fewest validation images predicted as a class for which the class has a threshold."""


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Confidence (K,) from which predictions of each class are decided, infinite where none suffices; and a mask (K,) of the classes with too few validation images."""

    confidence: Tensor
    too_few: Tensor

    def decided(self, probabilities: Tensor) -> Tensor:
        """Predicted classes (B,) of probabilities (B, K), -1 to abstain."""
        confidence, predicted = probabilities.max(1)
        return torch.where(confidence >= self.confidence[predicted], predicted, -1)


@dataclass(frozen=True, eq=False)
class ClassSets:
    """Least probability (K,) with which each class is in the set of an input; and a mask (K,) of the classes with too few images, which are in every set."""

    least: Tensor
    too_few: Tensor

    def sets(self, probabilities: Tensor) -> Tensor:
        """Whether each class is in the set of each input, (B, K) bool, from probabilities (B, K)."""
        return probabilities >= self.least


@dataclass(frozen=True, eq=False)
class Decisions:
    """Columns beside a table of predictions: whether a prediction is decided, and the set of possible classes."""

    thresholds: Thresholds | None
    sets: ClassSets | None

    @property
    def columns(self) -> list[str]:
        """``decided`` (yes or no) and ``set`` (a JSON list of class names), those that were asked for."""
        return [name for name, of in (("decided", self.thresholds), ("set", self.sets)) if of is not None]

    def cells(self, probabilities: Tensor, classes: Sequence[str]) -> list[list[str]]:
        """The cells of these columns for each row of probabilities (B, K)."""
        cells: list[list[str]] = [[] for _ in probabilities]
        if self.thresholds is not None:
            for row, decided in zip(cells, self.thresholds.decided(probabilities).tolist(), strict=True):
                row.append("no" if decided < 0 else "yes")
        if self.sets is not None:
            for row, within in zip(cells, self.sets.sets(probabilities), strict=True):
                row.append(json.dumps([classes[k] for k in within.nonzero().flatten().tolist()], ensure_ascii=False))
        return cells

    def lines(self, classes: Sequence[str]) -> list[str]:
        """The classes without a threshold or a set of their own, a line for each reason."""
        said: list[tuple[Tensor, str]] = []
        if self.thresholds is not None:
            few, never = self.thresholds.too_few, self.thresholds.confidence.isinf() & ~self.thresholds.too_few
            said += [
                (
                    few,
                    f"no threshold, fewer than {FEWEST} validation images are predicted to be of them, so their predictions are never decided",
                ),
                (never, "no confidence reaches the precision on validation, so their predictions are never decided"),
            ]
        if self.sets is not None:
            said.append((self.sets.too_few, "too few validation images for the coverage, so they are in every set"))
        lines = []
        for which, why in said:
            names = [name for name, one in zip(classes, which.tolist(), strict=True) if one]
            if names:
                lines.append(
                    f"{len(names):,} of {len(classes):,} classes: {why}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
                )
        return lines


def decisions_of(model: Classifier, precision: float | None, coverage: float | None) -> Decisions:
    """Thresholds at a precision and sets at a coverage under the prior that the model has now; None leaves one out.

    Raises:
        UserError: as ``thresholds``.
    """
    return Decisions(None if precision is None else thresholds(model, precision), None if coverage is None else class_sets(model, coverage))


def thresholds(model: Classifier, precision: float) -> Thresholds:
    """The lowest confidence of each class from which its predictions on validation are right as often as ``precision`` says, under the prior of the model.

    Precision depends on the shares of the classes: with a prior set, validation images count as much as their class does in it. It is that of validation, no bound.

    Raises:
        UserError: no calibration, no kept validation logits, or a precision that is not above 0 and at most 1.
    """
    probabilities, labels, counts = _validation(model, precision, "precision")
    shares = counts.double() / len(labels)
    weights = torch.ones(len(labels), dtype=torch.float64) if model.prior is None else (model.prior / shares)[labels]
    confidence, predicted = probabilities.max(1)
    result = torch.full((len(counts),), torch.inf, dtype=torch.float64)
    for k in predicted.unique().tolist():
        rows = (predicted == k).nonzero().flatten()
        rows = rows[confidence[rows].argsort(descending=True)]
        if len(rows) < FEWEST:
            continue
        of_class, weight = confidence[rows], weights[rows]
        right = (weight * (labels[rows] == k)).cumsum(0) / weight.cumsum(0)
        last_of_equals = torch.cat([of_class[1:] < of_class[:-1], torch.tensor([True])])
        enough = ((right >= precision) & last_of_equals).nonzero().flatten()
        if len(enough):
            result[k] = of_class[enough[-1]]
    return Thresholds(result, torch.bincount(predicted, minlength=len(counts)) < FEWEST)


def class_sets(model: Classifier, coverage: float) -> ClassSets:
    """Conformal sets by class: the sets of at least the share ``coverage`` of the new images of each class contain the class, whatever the class shares.

    The least probability of a class is the floor((n + 1) (1 - coverage))-th smallest of its n validation images (Vovk, ACML 2012). The few numbers of the calibration
    are fitted on the same images, which the guarantee does not count. For probabilities of the prior that the model has now.

    Raises:
        UserError: as ``thresholds``.
    """
    probabilities, labels, counts = _validation(model, coverage, "coverage")
    least = torch.zeros(len(counts), dtype=torch.float64)
    ranks = torch.floor((counts + 1) * (1 - coverage) + 1e-9).long()
    for k in (ranks > 0).nonzero().flatten().tolist():
        least[k] = probabilities[labels == k, k].sort().values[ranks[k] - 1]
    return ClassSets(least, ranks == 0)


def _validation(model: Classifier, share: float, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities (N, K) of the validation images under the model's prior, their classes (N,), and the images of each class (K,)."""
    if not 0 < share <= 1:
        raise UserError(f"--{name} is {share:g}, expected a share above 0 and at most 1")
    calibration = model.calibrated()
    if calibration.logits is None:
        raise UserError("this export keeps no validation logits: there were too many of them")
    return model.probabilities(calibration.logits), calibration.labels, calibration.counts
