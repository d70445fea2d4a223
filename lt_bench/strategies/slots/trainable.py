"""The trained parameters: the whole head by default, a part of it, or an adapter on top of it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.strategies._lib.tensors import linear
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import Slot


class Trainable(Slot):
    """An entry of the slot trainable.

    Attributes:
        frozen: whether weight and bias are held fixed; logits of the initial head are then computed once for all heads that share batches.
    """

    slot = "trainable"
    changes_rows = True
    frozen: ClassVar[bool] = False

    def takes_off(self) -> float | None:
        """Power 0: the entry takes no part of the prior off."""
        return 0.0

    def freeze(self, weight: nn.Parameter, bias: nn.Parameter) -> None:
        """Hold fixed what is not trained."""
        if self.frozen:
            weight.requires_grad_(False)
            bias.requires_grad_(False)

    @abstractmethod
    def logits(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Logits (B, K) of features (B, D)."""

    @abstractmethod
    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (K, D) and bias (K,) of the linear layer that one fitted head is."""

    def relative_rates(self, weight: Tensor, bias: Tensor) -> dict[Tensor, Any]:
        """Factors of the recipe's learning rate, for parameters that learn at another rate."""
        return {}

    def frozen_logits(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Logits of the frozen head, which all heads of a stack share: one product for each batch order."""
        if weight.dim() == 2:
            return F.linear(features, weight, bias)
        logits = F.linear(features, weight[0], None if bias is None else bias[0])
        S, H = logits.shape[0], weight.shape[0]
        return logits if S == H else logits.unsqueeze(1).expand(S, H // S, *logits.shape[1:]).flatten(0, 1)


class Nothing(Trainable):
    """Nothing: no step is taken, and the initial head is what ``at_inference`` adjusts."""

    name = "none"
    frozen = True

    def logits(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """W h + b."""
        return linear(features, weight, bias)

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The weight and the bias themselves."""
        return weight, bias


class Bias(Trainable):
    """The bias alone; the rows stay those of the initial head."""

    name = "bias"

    def freeze(self, weight: nn.Parameter, bias: nn.Parameter) -> None:
        """Hold the rows fixed."""
        weight.requires_grad_(False)

    def logits(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """W h + b."""
        assert bias is not None
        return self.frozen_logits(features, weight, None) + bias.unsqueeze(-2)

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The weight and the bias themselves."""
        return weight, bias


class Scale(Trainable):
    """One scale for each class on the logits of the frozen head: ``s_c (w_c h + b_c)``, s from 1.

    LWS of Kang et al., ICLR 2020 (classifier-balancing ``models/TauNormClassifier.py``).
    """

    name = "scale"
    frozen = True

    def prepare(self, class_counts: Tensor) -> None:
        """The scales."""
        self.scale = nn.Parameter(torch.ones(*self.leading, class_counts.numel()))

    def logits(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """s z."""
        return self.frozen_logits(features, weight, bias) * self.scale.unsqueeze(-2)

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and bias scaled."""
        scale = self.scale.detach()
        return weight * scale.unsqueeze(1), bias * scale


class Affine(Trainable):
    """A scale and a shift for each class on the logits of the frozen head: ``a_c z_c + b_c ||w_c||``, a from 1, b from 0.

    MARC of Wang et al., ACML 2022 (microsoft/robustlearn ``marc/models/MARCClassifier.py:15-30``).
    """

    name = "affine"
    frozen = True

    def prepare(self, class_counts: Tensor) -> None:
        """Scales and shifts."""
        self.scale = nn.Parameter(torch.ones(*self.leading, class_counts.numel()))
        self.shift = nn.Parameter(torch.zeros(*self.leading, class_counts.numel()))

    def logits(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """a z + b ||w||."""
        shift = self.shift * weight.norm(dim=-1)
        return self.frozen_logits(features, weight, bias) * self.scale.unsqueeze(-2) + shift.unsqueeze(-2)

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The correction folded in."""
        scale = self.scale.detach()
        return weight * scale.unsqueeze(1), scale * bias + self.shift.detach() * weight.norm(dim=1)


class ScaledHead(Trainable):
    """Weight, bias and a scale for each class: ``s_c (w_c h + b_c)``, s from 1; weight and bias learn at ``lr_factor`` times the rate of the scales.

    Zhong et al., CVPR 2021 (dvlab-research/MiSLAS).
    """

    name = "scaled_head"
    lr_factor: float = hyper(0.2, low=0, high=100, help="learning rate of weight and bias over that of the scales")

    def prepare(self, class_counts: Tensor) -> None:
        """The scales."""
        self.scale = nn.Parameter(torch.ones(*self.leading, class_counts.numel()))

    def relative_rates(self, weight: Tensor, bias: Tensor) -> dict[Tensor, Any]:
        """Weight and bias."""
        return {weight: self.lr_factor, bias: self.lr_factor}

    def logits(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """s (W h + b)."""
        return linear(features, weight, bias) * self.scale.unsqueeze(-2)

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The scales folded in."""
        scale = self.scale.detach()
        return weight * scale.unsqueeze(1), bias * scale
