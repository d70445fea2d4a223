"""Adjustments of a fitted head at inference, folded into its weight and bias."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_weights import log_prior
from lt_bench.strategies._lib.tensors import linear_head
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import Slot, assign


class AtInference(Slot):
    """An entry of the slot at_inference.

    Attributes:
        needs_held_out: whether ``learn`` is called with logits of validation images before ``folded``.
        needs_train: whether ``learn_train`` is called with the training features before ``head``.
    """

    slot = "at_inference"
    needs_held_out: ClassVar[bool] = False
    needs_train: ClassVar[bool] = False

    def learn(self, logits: Tensor, labels: Tensor) -> None:
        """Learn from the head's logits (N, K) of validation images and their labels (N,), -1 for classes without training rows."""

    def learn_train(self, weight: Tensor, bias: Tensor, train: FeatureSource) -> None:
        """Learn from the training features, and from weight (K, D) and bias (K,) of the fitted head."""

    def head(self, weight: Tensor, bias: Tensor) -> nn.Module:
        """The plain module of a fitted linear head after the adjustment."""
        return linear_head(*self.folded(weight, bias))

    @abstractmethod
    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight (K, D) and bias (K,) of one head after the adjustment; None for no bias."""


class SubtractLogPrior(AtInference):
    """``z_c - log(pi_c^tau + 1e-12)``, pi the training frequencies. Menon et al., ICLR 2021, eq. 9."""

    name = "log_prior"
    tau: float = hyper(1.0, low=0, high=10, help="strength of the adjustment")

    def takes_off(self) -> float | None:
        """tau."""
        return float(self.tau)

    def prepare(self, class_counts: Tensor) -> None:
        """The log prior."""
        assign(self, "table", log_prior(class_counts, self.tau))

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The prior taken from the bias."""
        return weight, bias - self.table.to(bias)

    table: Tensor


class ExchangePrior(AtInference):
    """``z_c - log pi_c + log(1 / K)``: the training prior exchanged for the uniform one. Hong et al., CVPR 2021, eq. 6."""

    name = "exchange_prior"

    def takes_off(self) -> float | None:
        """All of it."""
        return 1.0

    def prepare(self, class_counts: Tensor) -> None:
        """The compensation of each class; a class without samples counts as one."""
        counts = class_counts.clamp_min(1)
        assign(self, "table", (counts.sum() / (counts * counts.numel())).log())

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The compensation added to the bias."""
        return weight, bias + self.table.to(bias)

    table: Tensor


class RowNorm(AtInference):
    """``w_c / ||w_c||^tau``; tau 1 is L2 normalisation. Kang et al., ICLR 2020 (classifier-balancing ``tau_norm.py:102-114``, which drops the bias)."""

    name = "row_norm"
    changes_rows = True
    tau: float = hyper(1.0, low=0, high=10, help="exponent; 0 leaves the rows as they are")
    keep_bias: bool = hyper(False, help="keep the bias")

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows normalised."""
        norms = weight.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return weight / norms**self.tau, bias if self.keep_bias else None


class Multiply(AtInference):
    """``z_c pi_c^-tau``, the bias included; a class without samples counts as one. Hasegawa and Sato, ICLR 2024."""

    name = "multiply"
    changes_rows = True
    tau: float = hyper(0.65, low=0, high=10, help="exponent; 0 leaves the head as it is")

    def prepare(self, class_counts: Tensor) -> None:
        """The factor of each class."""
        counts = class_counts.clamp_min(1)
        assign(self, "factor", (counts / counts.sum()) ** -torch.as_tensor(self.tau, dtype=torch.float64))

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and bias scaled."""
        factor = self.factor.to(weight)
        return weight * factor.unsqueeze(1), bias * factor

    factor: Tensor


class RandomScale(AtInference):
    """``s_c z_c`` with ``log s_c`` normal of standard deviation sigma, the bias included."""

    name = "random_scale"
    changes_rows = True
    sigma: float = hyper(0.5, low=0, high=5, help="standard deviation of the logarithm of a class's scale")
    draw: int = hyper(0, low=0, high=1_000_000, help="of the random numbers")

    def prepare(self, class_counts: Tensor) -> None:
        """The scale of each class."""
        draws = torch.Generator().manual_seed(int(self.draw))
        assign(self, "factor", (float(self.sigma) * torch.randn(class_counts.numel(), dtype=torch.float64, generator=draws)).exp())

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and bias scaled."""
        factor = self.factor.to(weight)
        return weight * factor.unsqueeze(1), bias * factor

    factor: Tensor
