"""Kernels: the loss of one sample, given its transformed logits."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.strategies._lib.cross_entropy import smoothed_cross_entropy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import Slot


class Kernel(Slot):
    """An entry of the slot kernel."""

    slot = "kernel"

    @abstractmethod
    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Losses (B,) of transformed logits (B, K) and labels (B,)."""


class SoftmaxBCE(Kernel):
    """Binary cross-entropy of softmax outputs, averaged over classes: ``-(log p_y + sum over j != y of log(1 - p_j)) / K``, logarithms cut at -100 as in torch.

    The "softmax" loss of ShadeAlsha/LTR-weight-balancing; ``form="ce"`` is softmax cross-entropy, the loss of its paper. Where a logit stands about 16 above all
    others, ``1 - p`` of the official float32 code is 0 and its gradient rounding, up to thousands of times the true one; here both are those of float64.
    """

    name = "softmax_bce"
    form: Literal["bce", "ce"] = hyper("bce", help="bce, or ce for softmax cross-entropy")

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Losses (B,)."""
        if self.form == "ce":
            return smoothed_cross_entropy(logits, labels, 0.0)
        log_p = logits.log_softmax(-1)
        largest = log_p.detach().argmax(-1, keepdim=True)
        rest = log_p.scatter(-1, largest, -torch.inf)  # 1 - p of the largest is the sum of the others, exact where p rounds to 1
        others = torch.log1p(-rest.exp()).scatter(-1, largest, rest.logsumexp(-1, keepdim=True)).clamp_min(-100)
        index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
        true = log_p.gather(-1, index).clamp_min(-100) - others.gather(-1, index)
        return -(true.squeeze(-1) + others.sum(-1)) / logits.shape[-1]


class SigmoidBCE(Kernel):
    """Binary cross-entropy of sigmoid outputs, summed over classes, each focused: ``sum_k (1 - p_k)^gamma (-log p_k)``, p_k = sigmoid(z_k) for k = y, else 1 - sigmoid(z_k).

    Focal form of Cui et al., CVPR 2019 (richardaecn/class-balanced-loss); gamma 0 is plain binary cross-entropy.
    """

    name = "sigmoid_bce"
    gamma: float = hyper(0.0, low=0, high=10, help="focusing")

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Losses (B,)."""
        gamma = self.gamma.unsqueeze(-1) if isinstance(self.gamma, Tensor) else self.gamma
        index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
        wrong = logits.scatter(-1, index, -logits.gather(-1, index))  # logit of the wrong answer, for every class
        return (F.softplus(wrong) * torch.exp(-gamma * F.softplus(-wrong))).sum(-1)


class DotRegression(Kernel):
    """``(z_y - 1)^2 / 2``: the true logit is drawn to 1, and no other is pushed away. For cosines; Yang et al., NeurIPS 2022."""

    name = "dot_regression"

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Losses (B,)."""
        return (logits.gather(-1, labels.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1) - 1).square() / 2


__all__ = ["DotRegression", "Kernel", "SigmoidBCE", "SoftmaxBCE", "smoothed_cross_entropy"]
