"""Classifiers: how logits are made of features, weight and bias; the linear layer is the default."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from lt_bench.core.inference_heads import NormalisedLinear, on_sphere, signed_power
from lt_bench.strategies._lib.tensors import of_length
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import Slot


class Classifier(Slot):
    """An entry of the slot classifier: logits are a product of ``inputs`` with rows of one length, without bias."""

    slot = "classifier"

    def takes_off(self) -> float | None:
        """Power 0: the entry takes no part of the prior off."""
        return 0.0

    @abstractmethod
    def inputs(self, features: Tensor) -> Tensor:
        """Inputs of the rows (B, D), a function of features (B, D) without trained parameters."""

    @abstractmethod
    def row_length(self) -> Tensor | float:
        """Length to which rows are brought: a constant, a number or (H, 1, 1)."""

    @abstractmethod
    def initial(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters to start from, made of the initial head."""

    def rows(self, weight: Tensor) -> Tensor:
        """Rows (K, D) brought to their length, as used for the logits."""
        return of_length(weight, self.row_length())

    @abstractmethod
    def head(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        """The plain module of one fitted head."""


class Cosine(Classifier):
    """Scaled cosines without bias: ``z_c = s h w_c / (||h|| ||w_c||)`` (``normed``), or with the feature divided by 1 + ||h|| (``squashed``).

    power 0.5, for example, is Tukey's: ``sign(h) |h|^power`` in place of h. ``normed``: kaidic/LDAM-DRW ``NormedLinear``; ``squashed``: OLTR and classifier-balancing ``models/CosNormClassifier.py``. Rows start at length 1.
    """

    name = "cosine"
    scale: float = hyper(30.0, low=1e-3, high=1e3, help="s, part of the logits in training, at inference and in every metric")
    form: Literal["normed", "squashed"] = hyper("normed", help="feature divided by its norm, or by 1 + its norm")
    power: float = hyper(1.0, low=0.01, high=10, help="of each dimension of the feature; equal for all heads of a stack")

    def inputs(self, features: Tensor) -> Tensor:
        """Features on (or in) the unit sphere."""
        return on_sphere(signed_power(features, self.power), self.form == "squashed")

    def row_length(self) -> Tensor | float:
        """s."""
        return self.scale.unsqueeze(-1) if isinstance(self.scale, Tensor) else self.scale

    def initial(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The directions of the initial head; its bias is left out."""
        return of_length(weight), torch.zeros_like(bias)

    def head(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        """Scaled cosines."""
        return NormalisedLinear(self.rows(weight), bias, squash=self.form == "squashed", power=self.power)
