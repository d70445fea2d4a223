"""Weights w: how much the loss of a sample counts."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from lt_bench.strategies._lib.class_weights import effective_number_weights, inverse_power_weights, sum_to_classes
from lt_bench.strategies._lib.focal import focusing
from lt_bench.strategies._lib.tensors import per_class
from lt_bench.strategies.facts import Batch
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import Slot, assign

SMALLEST_INFLUENCE = 0.001


class Weighting(Slot):
    """An entry of the slot weight.

    Attributes:
        reduction: divide the batch's sum of losses by its number of ``samples``, or by its sum of class ``weights`` (torch's weighted mean).
        differs_by_epoch: whether ``class_weights`` does.
        modulates: whether ``modulate`` changes losses.
    """

    slot = "weight"
    reduction: Literal["samples", "weights"] = "samples"
    differs_by_epoch: ClassVar[bool] = False

    def __get__(
        self, instance: torch.nn.Module | None, owner: type
    ) -> Weighting:  # kept under the attribute's name, as `weight` is the head's
        return self if instance is None else instance.__dict__["_modules"]["weighting"]

    def class_weights(self, epoch: int) -> Tensor | None:
        """Weights (K,) of the classes in ``epoch``, None for 1."""
        return None

    def modulate(self, losses: Tensor, batch: Batch) -> Tensor:
        """Modulate the kernel's losses (B,); the result (B,) carries the gradient."""
        return losses


class Inverse(Weighting):
    """``w_c = n_c^-power`` scaled to sum to K; power 1 is the inverse class size, 1/2 its square root (DisAlign, CVPR 2021, eq. 8)."""

    name = "inverse"
    power: float = hyper(1.0, low=0, high=5, help="power of the inverse class size")
    reduction: Literal["samples", "weights"] = hyper(
        "weights", help="divide the batch's loss by its sum of weights, or by its number of samples"
    )

    def takes_off(self) -> float | None:
        """The power."""
        return float(self.power)

    def prepare(self, class_counts: Tensor) -> None:
        """The weights."""
        assign(self, "table", inverse_power_weights(class_counts, self.power))

    def class_weights(self, epoch: int) -> Tensor:
        """The weights (K,), the same in every epoch."""
        return self.table

    table: Tensor


class ClassBalanced(Weighting):
    """``w_c = (1 - beta) / (1 - beta^n_c)`` scaled to sum to K, the inverse effective number of samples. Cui et al., CVPR 2019, eq. 4."""

    name = "class_balanced"
    beta: float = hyper(0.9999, low=0, high=0.999999999, help="of the effective number; 0 weighs all classes alike")
    reduction: Literal["samples", "weights"] = hyper(
        "weights", help="divide the batch's loss by its sum of weights, or by its number of samples"
    )

    def prepare(self, class_counts: Tensor) -> None:
        """The weights."""
        assign(self, "table", sum_to_classes(effective_number_weights(class_counts, self.beta)))

    def class_weights(self, epoch: int) -> Tensor:
        """The weights (K,), the same in every epoch."""
        return self.table

    table: Tensor


class Deferred(ClassBalanced):
    """``class_balanced`` from the fraction ``deferral`` of the epochs on, 1 before. Cao et al., NeurIPS 2019 (kaidic/LDAM-DRW ``cifar_train.py:199-206``)."""

    name = "deferred"
    differs_by_epoch = True
    deferral: float = hyper(0.8, low=0, high=1, help="from which fraction of the epochs on the weights hold, rounded to an epoch")

    def class_weights(self, epoch: int) -> Tensor:
        """The class weights of ``epoch``: 1 before the deferral."""
        first = torch.as_tensor(self.deferral * self.epochs).round().long().to(self.table.device)
        return torch.where(epoch >= first, self.table, torch.ones_like(self.table))


class DeferredInverse(Inverse):
    """``inverse`` from the fraction ``deferral`` of the epochs on, 1 before. Wang et al., NeurIPS 2023 (wang22ti/DDC ``cifar_train.py``, ADRW)."""

    name = "deferred_inverse"
    differs_by_epoch = True

    def takes_off(self) -> float | None:
        """Not known."""
        return None

    deferral: float = hyper(0.8, low=0, high=1, help="from which fraction of the epochs on the weights hold, rounded to an epoch")

    def is_late(self, epoch: int) -> Tensor:
        """Whether the weights hold in ``epoch``: a scalar, or (H, 1)."""
        return epoch >= torch.as_tensor(self.deferral * self.epochs).round().long().to(self.table.device)

    def class_weights(self, epoch: int) -> Tensor:
        """The class weights of ``epoch``: 1 before the deferral."""
        return torch.where(self.is_late(epoch), self.table, torch.ones_like(self.table))


class LogInverse(Weighting):
    """``w_c = 1 - log(pi_c / pi_max)``: 1 for the largest class, 5.6 for one a hundred times rarer; not scaled (Zhang et al., TPAMI 2023, "Weighted softmax")."""

    name = "log_inverse"
    reduction: Literal["samples", "weights"] = hyper(
        "weights", help="divide the batch's loss by its sum of weights, or by its number of samples"
    )

    def prepare(self, class_counts: Tensor) -> None:
        """The weights."""
        counts = class_counts.clamp_min(1)
        assign(self, "table", 1 - (counts / counts.max()).log())

    def class_weights(self, epoch: int) -> Tensor:
        """The weights (K,), the same in every epoch."""
        return self.table

    table: Tensor


class Focal(Weighting):
    """``(1 - p_y)^gamma``, with its gradient, p_y = exp(-loss). Lin et al., ICCV 2017 (kaidic/LDAM-DRW ``losses.py:7-21``)."""

    name = "focal"
    gamma: float = hyper(1.0, low=0, high=10, help="focusing")

    def modulate(self, losses: Tensor, batch: Batch) -> Tensor:
        """(1 - p)^gamma times the losses."""
        return focusing(losses, self.gamma) * losses


class FocalConstant(Weighting):
    """``(1 - p_y)^gamma`` as a constant for the gradient, p_y = exp(-loss). Li et al., CVPR 2022 (Keke921/GCLLoss ``losses.py``)."""

    name = "focal_constant"
    gamma: float = hyper(1.0, low=0, high=10, help="focusing")

    def modulate(self, losses: Tensor, batch: Batch) -> Tensor:
        """(1 - p)^gamma times the losses."""
        return focusing(losses.detach(), self.gamma) * losses


class ClassBalancedFocal(Weighting):
    """``(1 - p)^gamma w_y`` with class-balanced w; p = exp(-w_y loss) as the code everyone copies (``weighted``), or exp(-loss) as the paper (``plain``).

    Cui et al., CVPR 2019 (kaidic/LDAM-DRW ``losses.py:7-21``).
    """

    name = "class_balanced_focal"
    gamma: float = hyper(1.0, low=0, high=10, help="focusing")
    beta: float = hyper(0.9999, low=0, high=0.999999999, help="of the effective number")
    probability: Literal["weighted", "plain"] = hyper("weighted", help="that of the focusing factor: weighted (code) or plain (paper)")

    def prepare(self, class_counts: Tensor) -> None:
        """The class weights."""
        assign(self, "balance", sum_to_classes(effective_number_weights(class_counts, self.beta)))

    def modulate(self, losses: Tensor, batch: Batch) -> Tensor:
        """The focused and weighted losses."""
        weighted = losses * per_class(self.balance.to(losses), batch.labels)
        return focusing(weighted if self.probability == "weighted" else losses, self.gamma) * weighted

    balance: Tensor


class Influence(Weighting):
    """``w_y alpha / (||p_i - e_y||_1 ||h_i||_1 + 0.001)``, with its gradient; ||p - e_y||_1 is 2 (1 - p_y). Park et al., ICCV 2021 (pseulki/IB-Loss ``losses.py:23-35``).

    w is ``inverse`` with power 1 or ``class_balanced``, scaled to sum to K; ``gamma`` focuses as ``focal`` does, on the weighted loss.
    """

    name = "influence"
    alpha: float = hyper(1000.0, low=1e-12, high=1e12, help="scale of the loss")
    detach: bool = hyper(False, help="whether the influence is a constant for the gradient")
    balance: Literal["inverse", "class_balanced"] = hyper("inverse", help="class weights: by the class size or by the effective number")
    beta: float = hyper(0.9999, low=0, high=0.999999999, help="of the effective number, for class_balanced")
    gamma: float = hyper(0.0, low=0, high=10, help="focusing; 0 for none")

    def prepare(self, class_counts: Tensor) -> None:
        """Class weights, and the alpha in use (1,) or (H, 1), which a calibration may change."""
        inverse = self.balance == "inverse"
        table = inverse_power_weights(class_counts, 1.0) if inverse else sum_to_classes(effective_number_weights(class_counts, self.beta))
        assign(self, "table", table)
        self.register_buffer("used_alpha", torch.as_tensor(self.alpha, dtype=torch.float64).expand(*self.leading, 1).clone())

    def modulate(self, losses: Tensor, batch: Batch) -> Tensor:
        """The losses over their influence."""
        norms = batch.features.to(losses.dtype).abs().sum(-1)
        if losses.dim() > 1 and norms.shape[0] != losses.shape[0]:
            norms = norms.repeat_interleave(losses.shape[0] // norms.shape[0], 0)
        influence = -2 * torch.expm1(-losses) * norms + SMALLEST_INFLUENCE
        weighted = losses * per_class(self.table.to(losses), batch.labels)
        if isinstance(self.gamma, Tensor) or self.gamma != 0:
            weighted = focusing(weighted, self.gamma) * weighted
        return weighted * self.used_alpha.to(losses) / (influence.detach() if self.detach else influence)

    table: Tensor
    used_alpha: Tensor
