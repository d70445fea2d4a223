"""Targets: the distribution q over classes that the kernel is minimised towards, as the mass that is spread evenly over all K classes."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from lt_bench.strategies._lib.smoothing import epsilon_of_target, torch_epsilon
from lt_bench.strategies._lib.tensors import per_class
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import Slot, assign


class Target(Slot):
    """An entry of the slot target."""

    slot = "target"

    @abstractmethod
    def __call__(self, labels: Tensor) -> Tensor | float:
        """Mass spread over all K classes, a number or (B,), of samples with labels (B,)."""


class OneHot(Target):
    """q = e_y."""

    name = "one_hot"

    def takes_off(self) -> float | None:
        """Power 0: the entry takes no part of the prior off."""
        return 0.0

    def __call__(self, labels: Tensor) -> float:
        """0."""
        return 0.0


class Smooth(Target):
    """Label smoothing: ``q_y = 1 - epsilon + epsilon / K`` and ``epsilon / K`` elsewhere (``torch``), or ``1 - epsilon`` and ``epsilon / (K - 1)`` (``others``).

    Szegedy et al., CVPR 2016; with epsilon near 1 label over-smoothing (Sun et al., ICLR 2025).
    """

    name = "smooth"
    epsilon: float = hyper(0.1, low=0, high=1, help="mass spread over the classes")
    convention: Literal["torch", "others"] = hyper("torch", help="spread over all K classes (torch) or over the K - 1 others")
    true_probability: float = hyper(0.0, low=0, high=1, help="q_y; sets the target instead of epsilon where it is not 0")
    gap: float = hyper(0.0, low=0, high=50, help="log(q_y / q_k); sets the target instead of epsilon where it is not 0")

    def prepare(self, class_counts: Tensor) -> None:
        """The mass in torch's convention, whichever setting gives it."""
        K = class_counts.numel()
        mass = torch_epsilon(self.epsilon, self.convention, K)
        if not self._as_given():
            mass = epsilon_of_target(self.owner, mass, self.true_probability, self.gap, K)
        assign(self, "mass", mass)

    def _as_given(self) -> bool:
        return all(isinstance(value, float | int) and value == 0 for value in (self.true_probability, self.gap))

    def __call__(self, labels: Tensor) -> Tensor | float:
        """Torch's epsilon."""
        return self.mass

    mass: Tensor | float


class LabelAware(Target):
    """Smoothing that grows with class size: ``e_c = tail + (head - tail) f(x_c)``, x from 0 for the smallest to 1 for the largest class.

    f is sin(pi x / 2) (``concave``), x (``linear``) or 1 - cos(pi x / 2) (``convex``); with equal class counts x is 0. Zhong et al., CVPR 2021 (dvlab-research/MiSLAS
    ``methods.py:31-64``).
    """

    name = "label_aware"
    head: float = hyper(0.4, low=0, high=1, help="epsilon of the largest class")
    tail: float = hyper(0.1, low=0, high=1, help="epsilon of the smallest class")
    shape: Literal["concave", "linear", "convex"] = hyper("concave", help="course of epsilon between them")

    def prepare(self, class_counts: Tensor) -> None:
        """Epsilon of each class."""
        span = class_counts.max() - class_counts.min()
        x = (class_counts - class_counts.min()) / span if span > 0 else torch.zeros_like(class_counts)
        curve = {"concave": torch.sin(math.pi / 2 * x), "linear": x, "convex": 1 - torch.cos(math.pi / 2 * x)}[self.shape]
        assign(self, "mass", self.tail + (self.head - self.tail) * curve)

    def __call__(self, labels: Tensor) -> Tensor:
        """Epsilon of each sample's class."""
        return per_class(self.mass, labels)

    mass: Tensor
