"""Calibrated probabilities of an export, and the prior over classes that they assume. Torch and SciPy alone: what uses an export needs no training code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.core.names import counted

METHODS = ("em", "black_box")
CLOSE, STEPS = 1e-7, 10_000
"""EM ends when every share changes by less than CLOSE, or after STEPS steps."""
FEW_INPUTS, FEW_VALIDATION = 16, 10
"""Fewest inputs a class (with fewer, even counts of their true classes leave an equal share uncertain by half of itself), and fewest validation images of a class (with fewer, its look is hardly known)."""
CONDITION = 30.0
"""Condition number of the confusion matrix above which a black-box estimate is doubted, since it may multiply the noise of predicted shares by more than this."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Corrections of a head's logits, fitted on validation images that the backbone has not seen.

    Attributes:
        temperature: T of ``z / T``, which changes no prediction (Guo et al., ICML 2017).
        scale: s of the bias-corrected ``s z + t`` (Alexandari et al., ICML 2020).
        shift: t (K,) float64.
        prior: (K,) float64, shares that the probabilities of ``s z + t`` assume: their mean over the validation images. 0 for a class without training images.
        labels: (N,) of the validation images.
        predictions: (N,) classes that the head predicts for them.
        logits: z (N, K) of the head for them; None where they were too many to be kept.
    """

    temperature: float
    scale: float
    shift: Tensor
    prior: Tensor
    labels: Tensor
    predictions: Tensor
    logits: Tensor | None

    def corrected(self, logits: Tensor) -> Tensor:
        """``s z + t`` (N, K) float64."""
        return logits.double() * self.scale + self.shift.to(logits.device)

    @property
    def counts(self) -> Tensor:
        """(K,) validation images of each class."""
        return torch.bincount(self.labels, minlength=len(self.prior))

    def parts(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Plain values and tensors from which ``calibration_from`` rebuilds the calibration."""
        tensors = {"labels": self.labels.int(), "predictions": self.predictions.int()}
        return {
            "images": len(self.labels),
            "counts": self.counts.tolist(),
            "temperature": self.temperature,
            "bias_corrected": {"temperature": 1 / self.scale, "shift": self.shift.tolist()},
            "prior": self.prior.tolist(),
        }, tensors | ({} if self.logits is None else {"logits": self.logits.float().contiguous()})


def calibration_from(parts: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]) -> Calibration | None:
    """The calibration that ``Calibration.parts`` took apart; None where an export has none."""
    if parts is None:
        return None
    corrected = parts["bias_corrected"]
    shift, prior = (torch.tensor(values, dtype=torch.float64) for values in (corrected["shift"], parts["prior"]))
    labels, predictions = tensors["labels"].long(), tensors["predictions"].long()
    return Calibration(parts["temperature"], 1 / corrected["temperature"], shift, prior, labels, predictions, tensors.get("logits"))


@dataclass(frozen=True, eq=False)
class PriorEstimate:
    """Shares (K,) of the classes in unlabelled inputs, float64, and a line for each reason to doubt them."""

    shares: Tensor
    doubts: tuple[str, ...]


def exchanged(logits: Tensor, assumed: Tensor, prior: Tensor) -> Tensor:
    """``z - log assumed + log prior`` (N, K) float64; a class that the head does not assume stays impossible. Saerens et al., Neural Computation 2002."""
    offset = torch.where(assumed > 0, prior.log() - assumed.log(), -torch.inf)
    return logits.double() + offset.to(logits.device)


def estimate(calibration: Calibration, logits: Tensor, method: str = "em") -> PriorEstimate:
    """Shares of the classes among unlabelled inputs, assuming that images of a class look as they do in validation.

    Args:
        calibration: of the head.
        logits: of the head for the inputs (N, K), N > 0.
        method: ``em``, the maximum of the likelihood by the fixed point of Saerens et al. (Neural Computation 2002) on bias-corrected probabilities; or
            ``black_box``, the shares that the validation confusions turn into the predicted shares (Lipton et al., ICML 2018), not below 0.

    Raises:
        UserError: no inputs, or an unknown method.
    """
    if method not in METHODS:
        raise UserError(f"method {method!r} is not known; known are {', '.join(METHODS)}")
    if not len(logits):
        raise UserError("a prior cannot be estimated without inputs")
    unseen = int(((calibration.counts == 0) & (calibration.prior > 0)).sum())
    doubts = [f"classes without a validation image, whose shares are guessed: {unseen}"] if unseen else []
    few = int(((calibration.counts > 0) & (calibration.counts < FEW_VALIDATION)).sum())
    doubts += [f"classes with fewer than {FEW_VALIDATION} validation images, whose shares are hardly known: {few}"] if few else []
    K = int((calibration.prior > 0).sum())
    if len(logits) < FEW_INPUTS * K:
        doubts.append(
            f"{counted(len(logits), 'input')} can say little of the shares of {K:,} classes; {FEW_INPUTS * K:,} or more say something"
        )
    if method == "em":
        probabilities = calibration.corrected(logits).softmax(1).cpu()
        shares, ended = _by_em(probabilities, calibration.prior)
        return PriorEstimate(shares, (*doubts, *([] if ended else [f"EM has not converged in {STEPS} steps"])))
    shares, condition = _by_confusions(calibration, logits.argmax(1).cpu())
    if condition > CONDITION:
        doubts.append(f"the head confuses classes too much for a black-box estimate (condition {condition:.0f} of the confusions); use EM")
    return PriorEstimate(shares, tuple(doubts))


def _by_em(probabilities: Tensor, assumed: Tensor) -> tuple[Tensor, bool]:
    """The fixed point q = mean of p q / assumed, normalised for each input; and whether it was reached."""
    known = assumed > 0
    likelihood, shares = probabilities[:, known] / assumed[known], assumed[known] / assumed[known].sum()
    ended = False
    for _ in range(STEPS):
        step = shares * ((likelihood @ shares).clamp_min(1e-300).reciprocal() @ likelihood) / len(likelihood)
        ended = float((step - shares).abs().max()) < CLOSE
        shares = step / step.sum()
        if ended:
            break
    result = torch.zeros_like(assumed)
    result[known] = shares
    return result, ended


def _by_confusions(calibration: Calibration, predictions: Tensor) -> tuple[Tensor, float]:
    """Least-squares solution q (K,) of C q = predicted shares, with the confusions C on validation (columns: true classes), and the condition number of C.

    Classes without validation images keep their assumed share.
    """
    K, counts = len(calibration.prior), calibration.counts
    known = (counts > 0).numpy()
    pairs = torch.bincount(calibration.predictions * K + calibration.labels, minlength=K * K).reshape(K, K).double()
    confusions: NDArray[np.float64] = (pairs / counts.clamp_min(1)).numpy()[:, known]
    predicted = (torch.bincount(predictions, minlength=K).double() / len(predictions)).numpy()
    solution, _ = nnls(confusions, predicted)
    result = torch.where(counts > 0, 0.0, calibration.prior)
    total = solution.sum() or 1.0
    result[torch.from_numpy(known)] = torch.from_numpy(solution / total) * (1 - result.sum())
    return result, float(np.linalg.cond(confusions))
