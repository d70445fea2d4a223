"""Initial heads: weight and bias before the first step."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_means import class_means, linear_discriminant, shrunk, within_covariance
from lt_bench.strategies._lib.tensors import random_linear
from lt_bench.strategies.facts import Facts
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import Slot, assign
from lt_bench.strategies.slots.vocabulary import entry


class InitialHead(Slot):
    """An entry of the slot initial_head; one of the user's own overrides ``of_facts`` or, with ``needs_features = True``, ``of_features``.

    Attributes:
        needs_features: whether the head is made of the training features.
    """

    slot = "initial_head"
    needs_features: ClassVar[bool] = False

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        for attribute, declared in self.declared.items():  # an initial head belongs to no strategy, so its parameters are numbers
            value = self.arguments.get(attribute, declared.default)
            declared.check(self.name, value)
            assign(self, attribute, value)

    def __get__(self, instance: Any, owner: type) -> InitialHead:
        return self

    def of_facts(self, facts: Facts, seed: int, strategy: str) -> tuple[Tensor, Tensor]:
        """Weight (K, D) and bias (K,), float32.

        Args:
            facts: of the training data.
            seed: of random numbers.
            strategy: its name, for errors.

        Raises:
            UserError: the head cannot be made of these facts.
        """
        raise UserError(
            f"{type(self).__qualname__} has no of_facts, which makes the initial head of the facts; or say needs_features = True and define of_features"
        )

    def of_features(self, train: FeatureSource, facts: Facts) -> tuple[Tensor, Tensor]:
        """Weight (K, D) and bias (K,), float32, made of the plain training view.

        Raises:
            UserError: the class does not define this method.
        """
        raise UserError(
            f"{type(self).__qualname__} says needs_features = True and has no of_features, which makes the initial head of the training features"
        )


class Joint(InitialHead):
    """The stage-1 head."""

    name = "joint"

    def of_facts(self, facts: Facts, seed: int, strategy: str) -> tuple[Tensor, Tensor]:
        """A copy of the stage-1 head."""
        K, D, head = facts.num_classes, facts.dim, facts.head
        if head is None:
            raise UserError(
                f"{strategy} starts from the stage-1 head and there is none; take a strategy that begins without one (balanced_softmax, crt, "
                "ffds, ncm, ...), let the import or extraction fit one (--stage1-head fit), or import one with the features (import-features --head)"
            )
        if tuple(head.weight.shape) != (K, D) or tuple(head.bias.shape) != (K,):
            raise UserError(f"the stage-1 head has shape {tuple(head.weight.shape)}, expected ({K}, {D}) = (classes, feature dimension)")
        return head.weight.float().clone(), head.bias.float().clone()


class Random(InitialHead):
    """torch's default initialisation of ``nn.Linear``, uniform in +-1/sqrt(D)."""

    name = "random"

    def of_facts(self, facts: Facts, seed: int, strategy: str) -> tuple[Tensor, Tensor]:
        """Random numbers of the seed."""
        return random_linear(seed, facts.num_classes, facts.dim)


class RarePrior(Random):
    """``random``, with the bias at -log(K - 1), so that a sigmoid starts every class at probability 1 / K (Cui et al., CVPR 2019)."""

    name = "random_rare"

    def of_facts(self, facts: Facts, seed: int, strategy: str) -> tuple[Tensor, Tensor]:
        """Random rows and that bias."""
        weight, bias = super().of_facts(facts, seed, strategy)
        return weight, torch.full_like(bias, -math.log(facts.num_classes - 1))


class ClassMeans(InitialHead):
    """Directions of the class means, ``w_c = scale (m_c - mu) / ||m_c - mu||``, ``b_c = -w_c mu``, mu the mean of the m_c, or 0; a class without samples has a zero row.

    Without centring it is the initialisation of LIFT (Shi et al., ICML 2024), there for a cosine classifier.
    """

    name = "class_means"
    needs_features = True
    scale: float = hyper(1.0, low=1e-6, high=1e6, help="length of the rows")
    centred: bool = hyper(True, help="take the mean of the class means off them")

    def of_features(self, train: FeatureSource, facts: Facts) -> tuple[Tensor, Tensor]:
        """Sums in float64."""
        means, counts = class_means(train, facts.num_classes)
        centre = means[counts > 0].mean(0) if self.centred else torch.zeros_like(means[0])
        rows = torch.nn.functional.normalize(torch.where(counts.unsqueeze(1) > 0, means - centre, 0.0), dim=1) * self.scale
        return rows.float(), (-rows @ centre).float()


class LDA(InitialHead):
    """Linear discriminant: ``w_c = S^-1 m_c``, ``b_c = -m_c S^-1 m_c / 2`` with ``S = (1 - shrinkage) S_w + shrinkage tr(S_w) / D I``, equal priors."""

    name = "lda"
    needs_features = True
    shrinkage: float = hyper(0.1, low=0, high=1, help="share of the identity in the covariance within classes")

    def of_features(self, train: FeatureSource, facts: Facts) -> tuple[Tensor, Tensor]:
        """Sums and solution in float64."""
        means, counts = class_means(train, facts.num_classes)
        rows, bias = linear_discriminant(means, shrunk(within_covariance(train, facts.num_classes), self.shrinkage))
        bias = torch.where(counts > 0, bias, bias.min())
        return rows.float(), bias.float()


class NoHead(InitialHead):
    """No head of the usual form: the strategy makes its own parameters."""

    name = "none"


def initial_head(name: str | InitialHead | type[InitialHead]) -> InitialHead:
    """The entry of a name, with or without parameters (``lda(shrinkage=0.2)``), or of a class of the user's own at a dotted path.

    Raises:
        UserError: no such entry.
    """
    if isinstance(name, InitialHead):
        return name
    if isinstance(name, type):
        return name()
    head = entry("initial_head", name)
    assert isinstance(head, InitialHead)
    return head
