"""Transforms T: what the loss sees instead of the logits."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from lt_bench.core.inference_heads import on_sphere
from lt_bench.core.processes import current
from lt_bench.strategies._lib.class_weights import log_prior, over_samples
from lt_bench.strategies._lib.tensors import less_on_true, per_class
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import Slot, assign


class Transform(Slot):
    """An entry of the slot transform.

    Attributes:
        is_shift: whether it only adds to the logits what depends neither on them nor on parameters, so that the gradient passes unchanged.
    """

    slot = "transform"
    is_shift: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """An entry with a ``__call__`` of its own is a shift only where its class says so."""
        super().__init_subclass__(**kwargs)
        if "__call__" in cls.__dict__ and "is_shift" not in cls.__dict__:
            cls.is_shift = False

    @abstractmethod
    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Transformed logits (B, K)."""


class Identity(Transform):
    """T(z) = z."""

    name = "identity"
    is_shift = True

    def takes_off(self) -> float | None:
        """Power 0: the entry takes no part of the prior off."""
        return 0.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """z."""
        return logits


class LogCounts(Transform):
    """``T(z)_c = z_c + log n_c``, a class without samples counting as one: ``log_prior`` with tau 1 up to a constant. Ren et al., NeurIPS 2020, eq. 4."""

    name = "log_counts"
    is_shift = True

    def takes_off(self) -> float | None:
        """All of it."""
        return 1.0

    def prepare(self, class_counts: Tensor) -> None:
        """log n."""
        assign(self, "table", class_counts.clamp_min(1).log())

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """z + log n."""
        return logits + self.table.to(logits.dtype)

    table: Tensor


class LogPrior(Transform):
    """``T(z)_c = z_c + log(pi_c^tau + 1e-12)``, pi the training frequencies, so that plain logits fit a balanced prior. Menon et al., ICLR 2021, eq. 10."""

    name = "log_prior"
    is_shift = True
    tau: float = hyper(1.0, low=0, high=10, help="strength of the prior")

    def takes_off(self) -> float | None:
        """tau."""
        return float(self.tau)

    def prepare(self, class_counts: Tensor) -> None:
        """The log prior."""
        assign(self, "table", log_prior(class_counts, self.tau))

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """z + log(pi^tau + 1e-12)."""
        return logits + over_samples(self.table).to(logits)

    table: Tensor


class Temperature(Transform):
    """``T(z)_c = z_c (n_c / n_max)^gamma + tau log pi_c``: a temperature for each class, and the prior.

    tau 0 is CDT (Ye et al., 2020), gamma 0 the logit-adjustment loss; both are VS (Kini et al., NeurIPS 2021; orparask/VS-Loss ``losses.py:34-53``).
    """

    name = "temperature"
    gamma: float = hyper(0.2, low=0, high=5, help="power of the class size in the temperature")
    tau: float = hyper(0.0, low=0, high=10, help="strength of the prior")

    def prepare(self, class_counts: Tensor) -> None:
        """Inverse temperatures and the prior."""
        counts = class_counts.clamp_min(1)
        assign(self, "inverse_temperature", (counts / counts.max()) ** self.gamma)
        assign(self, "prior", self.tau * (counts / counts.sum()).log())

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """z / Delta + tau log pi."""
        return logits * over_samples(self.inverse_temperature).to(logits) + over_samples(self.prior).to(logits)

    inverse_temperature: Tensor
    prior: Tensor


class Simplex(Transform):
    """``T(z)_c = sqrt(K / (K - 1)) (z_c - mean z) / ||z||``: the cosines of z with the vertices of a simplex, equiangular and fixed (an ETF).

    The classifier of Yang et al., NeurIPS 2022, whose simplex lies in a random direction; W h + b is the learned map into its space, so none is needed.
    """

    name = "simplex"

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The cosines."""
        K = logits.shape[-1]
        return (K / (K - 1)) ** 0.5 * (on_sphere(logits) - on_sphere(logits).mean(-1, keepdim=True))


class Margin(Transform):
    """A margin taken from the true logit, larger for rarer classes: ``T(z)_y = z_y - scale max_margin (n_min / n_y)^power``.

    Cao et al., NeurIPS 2019 (LDAM: power 1/4; kaidic/LDAM-DRW ``losses.py:23-45``), there on cosines, ``scale`` being theirs.
    """

    name = "margin"
    is_shift = True
    max_margin: float = hyper(0.5, low=0, high=50, help="margin of the smallest class")
    scale: float = hyper(1.0, low=1e-3, high=1e3, help="factor of the margin: the scale of cosine logits")
    power: float = hyper(0.25, low=0, high=2, help="how fast the margin falls with class size")

    def prepare(self, class_counts: Tensor) -> None:
        """The margin of each class, before the scale."""
        counts = class_counts.clamp_min(1)
        assign(self, "margin", self.max_margin * (counts.min() / counts) ** self.power)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The margin taken from the true logit."""
        return less_on_true(logits, labels, self.scale * per_class(self.margin, labels))

    margin: Tensor


class Adaptive(Transform):
    """A margin for rare classes and hard samples: ``T(z)_y = z_y - d_y (scale - z_y) / 2``, ``d_c = log 2 / log(n_c / n_min + 1)``, a constant for the gradient.

    Zhao et al., AAAI 2022 (liming-ai/OpenLT ``model/loss.py``), on cosines, ``scale`` being theirs.
    """

    name = "adaptive"
    is_shift = True
    scale: float = hyper(30.0, low=1e-3, high=1e3, help="logit at which a sample has no margin: the scale of cosine logits")

    def prepare(self, class_counts: Tensor) -> None:
        """d."""
        counts = class_counts.clamp_min(1)
        assign(self, "rarity", math.log(2) / (counts / counts.min() + 1).log())

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The margin taken from the true logit."""
        true = logits.detach().gather(-1, labels.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)
        return less_on_true(logits, labels, per_class(self.rarity.to(logits), labels) * (self.scale - true) / 2)

    rarity: Tensor


class BatchCounts(Transform):
    """``T(z)_c = z_c + log m_c``, m_c the samples of class c in the batch, those of all processes; a class that is not in it has minus infinity.

    Xie et al., Neurocomputing 2023 (lilydedbb/ARBLOSS ``train_stage1.py``).
    """

    name = "batch_counts"
    is_shift = True

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """z + log m."""
        counts = logits.new_zeros(*labels.shape[:-1], logits.shape[-1]).scatter_add_(
            -1, labels, torch.ones_like(labels, dtype=logits.dtype)
        )
        return logits + current().all_reduce(counts).log().unsqueeze(-2)


class Cloud(Transform):
    """Logits lowered by noise that is larger for rarer classes, and a margin: ``T(z)_c = z_c - scale (noise |e_ic| d_c + margin e_yc)``.

    ``d_c = (log n_max - log n_c) / (log n_max - log n_min)``, e ~ N(0, 1/9) with |e| at most 1, drawn for every sample and class; with equal class counts d is 0.
    Li et al., CVPR 2022 (Keke921/GCLLoss ``losses.py:53-83``, ``train_cls=True``).
    """

    name = "cloud"
    is_shift = True
    noise: float = hyper(0.5, low=0, high=10, help="strength of the noise")
    margin: float = hyper(0.1, low=0, high=2, help="taken from the true class, in cosine")
    scale: float = hyper(1.0, low=1e-3, high=1e3, help="factor of both: the scale of cosine logits")

    def prepare(self, class_counts: Tensor) -> None:
        """The noise of each class."""
        rarity = (class_counts.max() / class_counts.clamp_min(1)).log()
        relative = rarity / rarity.max() if rarity.max() > 0 else torch.zeros_like(rarity)
        assign(self, "table", self.noise * relative)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The noise taken from every logit and the margin from the true one."""
        scale = self.scale.unsqueeze(-1) if isinstance(self.scale, Tensor) else self.scale
        drawn = (self.draws.normal(logits) / 3).abs().clamp_max(1)
        clouded = logits - scale * drawn * over_samples(self.table).to(logits)
        return less_on_true(clouded, labels, torch.as_tensor(self.scale * self.margin, dtype=logits.dtype, device=logits.device))

    table: Tensor


class Equalise(Transform):
    """Rare classes left out of the denominator of other classes' samples at random: ``T(z)_k = z_k + log(1 - beta_ik 1[pi_k < threshold] (1 - e_yk))``.

    beta_ik is 1 with probability gamma, drawn for every sample and class. Tan et al., CVPR 2020 (SEQL).
    """

    name = "equalise"
    is_shift = True
    gamma: float = hyper(0.9, low=0, high=1, help="probability of leaving a rare class out")
    threshold: float = hyper(0.005, low=0, high=1, help="training frequency below which a class is rare")

    def prepare(self, class_counts: Tensor) -> None:
        """Mask (K,) of the rare classes."""
        rare = class_counts / class_counts.sum() < torch.as_tensor(self.threshold, dtype=torch.float64)
        assign(self, "rare", over_samples(rare))

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits with -inf where a rare class is left out; the true class never is."""
        gamma = self.gamma.unsqueeze(-1) if isinstance(self.gamma, Tensor) else self.gamma
        left_out = (self.draws.uniform(logits) < gamma) & self.rare
        left_out = left_out.scatter(-1, labels.expand(logits.shape[:-1]).unsqueeze(-1), False)
        return logits.masked_fill(left_out, -torch.inf)

    rare: Tensor
