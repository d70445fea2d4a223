"""Adjustments at inference to a prior that is stated, or learned from validation features; never from test images."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.data.priors import check_prior, is_tail, named_prior
from lt_bench.metrics.class_bias import equalising_offsets
from lt_bench.metrics.rescaling import rescaling
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import assign
from lt_bench.strategies.slots.inference import AtInference


class Temperature(AtInference):
    """``z / T``, T > 0 the minimiser of the cross-entropy of validation images: probabilities change, predictions do not. Guo et al., ICML 2017."""

    slot = "at_inference"
    name = "temperature"
    changes_rows = True
    needs_held_out = True
    per_class: ClassVar[bool] = False
    shifts: ClassVar[bool] = False

    def learn(self, logits: Tensor, labels: Tensor) -> None:
        """Fit scale and shift on images of classes with training rows."""
        known = labels >= 0
        scale, shift = rescaling(logits[known], labels[known], per_class=self.per_class, shift=self.shifts)
        assign(self, "factor", scale)
        assign(self, "offset", shift)

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and bias scaled, and the shift added."""
        factor = self.factor.to(weight)
        return weight * factor.unsqueeze(1), bias * factor + self.offset.to(bias)

    factor: Tensor
    offset: Tensor


class BiasCorrectedTemperature(Temperature):
    """``z / T + t``, one T and a shift for each class, minimisers of the cross-entropy of validation images. Alexandari et al., ICML 2020."""

    name = "bias_corrected_temperature"
    shifts = True


class VectorScaling(Temperature):
    """``s_c z_c + t_c``, a scale and a shift for each class, minimisers of the cross-entropy of validation images. Guo et al., ICML 2017."""

    name = "vector_scaling"
    per_class = True
    shifts = True


class TestPrior(AtInference):
    """``z_c - log pi_c + log rho_c``, pi the training frequencies and rho those expected at the test: ``pi_c^power`` over their sum, or a prior.

    power 0 is the uniform prior, 1 leaves the head as it is, -1 is the long tail reversed. A prior is ``forward:50`` or ``backward:50`` (any imbalance), a file as of
    ``leaderboard --test-priors``, or shares one by one. Saerens et al., Neural Computation 2002.
    """

    slot = "at_inference"
    name = "test_prior"
    __test__ = False
    power: float = hyper(0.0, low=-10, high=10, help="of the training frequencies, in the prior of the test")
    prior: tuple | str = hyper((), help="forward:50, backward:50, a file, or shares of the classes with training rows, in place of a power")

    def takes_off(self) -> float | None:
        """``1 - power``; None where a prior is given in place of a power."""
        return None if self.prior else 1 - float(self.power)

    def prepare(self, class_counts: Tensor) -> None:
        """The exchange of priors."""
        assign(self, "stated", stated_prior(self.owner, class_counts, self.power, self.prior))
        assign(self, "offset", self.stated.log() - (class_counts.clamp_min(1) / class_counts.sum()).log())

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The exchange added to the bias."""
        return weight, bias + self.offset.to(bias)

    stated: Tensor
    offset: Tensor


class MatchPrior(TestPrior):
    """``z_c + b_c``, b such that of validation images, their labels unseen, as many are predicted to be of class c as a stated prior rho says.

    rho is that of ``test_prior``; power 0, every class equally often, is class-bias equalisation. The offsets are found by Sinkhorn's fixed point on softened
    predictions. They hold for images whose shares are rho: of validation images with other shares they take away what is there.
    """

    name = "match_prior"
    needs_held_out = True

    def takes_off(self) -> float | None:
        """Not known."""
        return None

    def learn(self, logits: Tensor, labels: Tensor) -> None:
        """Find the offsets; ``labels`` are not used."""
        assign(self, "offset", equalising_offsets(logits, self.stated.to(logits)))


def stated_prior(owner: str, class_counts: Tensor, power: float, prior: tuple[float, ...] | str) -> Tensor:
    """A prior (K,) that sums to 1, from a power of the training frequencies, the name of a long tail, or shares one by one.

    Raises:
        UserError: a power and a prior are both given, the number of shares is not that of classes with training rows, a share is not above 0, or the prior is a file, whose classes are unknown here.
    """
    if prior and power:
        raise UserError(f"{owner}: it has the power {power:g} and a prior, and one of the two says the shares; leave the other out")
    if isinstance(prior, str):
        check_prior(prior, owner)
        if not is_tail(prior):
            raise UserError(
                f"{owner}: {prior} names classes, which a strategy alone does not know; use it with a cache: lt-bench run, lt.fit"
            )
        return torch.from_numpy(named_prior(prior, (), class_counts.cpu().numpy()))
    if not prior:
        shares = class_counts.clamp_min(1) ** torch.as_tensor(power, dtype=torch.float64)
        return shares / shares.sum()
    if len(prior) != len(class_counts) or not all(isinstance(share, int | float) and share > 0 for share in prior):
        raise UserError(
            f"{owner}: prior has {len(prior)} shares, expected {len(class_counts)} numbers above 0, one a class with training rows"
        )
    shares = torch.tensor(prior, dtype=torch.float64)
    return shares / shares.sum()
