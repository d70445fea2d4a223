"""FFDS: the focusing loss that FFDS and D-FFDS share."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lt_bench.core.errors import UserError
from lt_bench.strategies._lib.class_weights import effective_number_weights, sum_to_classes
from lt_bench.strategies._lib.tensors import per_class

Curve = Literal["linear", "convex", "concave"]
WeightScale = Literal["classes", "paper", "code"]
LOWEST, HIGHEST = 1e-6, 1 - 1e-6  # the official code clamps probabilities to these (``losses/ffds.py:62-66``)


def frequency_groups(counts: Tensor, groups: int) -> Tensor:
    """Group number of every class (K,): ``groups`` runs of equal length over the classes from largest to smallest, the last taking the remainder."""
    K = counts.numel()
    ends = torch.tensor([K * (g + 1) // groups for g in range(groups)])
    rank = torch.empty(K, dtype=torch.long)
    rank[torch.argsort(counts.cpu(), descending=True, stable=True)] = torch.arange(K)
    return torch.searchsorted(ends, rank, right=True)


def check_focus(strategy: str, low: float | Tensor, high: float | Tensor, follows_size: bool) -> None:
    """Refuse a gamma that falls with class size, and two different gammas where gamma does not follow class size.

    Raises:
        UserError: the message names both values.
    """
    for one, other in zip(
        *(value.flatten().tolist() for value in torch.broadcast_tensors(*map(torch.as_tensor, (low, high)))), strict=True
    ):
        if one > other:
            raise UserError(f"{strategy}.gamma_max is {other:g}, below gamma_min {one:g}: the largest class has the strongest focusing")
        if one != other and not follows_size:
            raise UserError(
                f"{strategy} without freq_focus has one gamma for all classes: give gamma_min and gamma_max the same value (they are {one:g} and {other:g})"
            )


def frequency_focus(counts: Tensor, low: float | Tensor, high: float | Tensor, curve: Curve) -> Tensor:
    """gamma per class (K,) or (H, K): ``low`` for the smallest to ``high`` for the largest class along the curve.

    x = (n - n_min) / (n_max - n_min), and x, x^3 or tanh(4 x) (``losses/ffds.py:127-144``). With equal counts x is 0 / 0 and taken as 0.
    """
    span = counts.max() - counts.min()
    x = (counts - counts.min()) / span if span > 0 else torch.zeros_like(counts)
    shape = {"linear": x, "convex": x**3, "concave": torch.tanh(4 * x)}[curve]
    return low + (high - low) * shape


def scaled_weights(counts: Tensor, beta: float | Tensor, scale: WeightScale) -> Tensor:
    """Class-balanced weights: ``paper`` as they are, ``classes`` summing to K, ``code`` summing to 1 / K (the released normalisation, a slip)."""
    raw = effective_number_weights(counts, beta)
    if scale == "paper":
        return raw
    return sum_to_classes(raw) if scale == "classes" else sum_to_classes(raw) / counts.numel() ** 2


def smooth_probability(true: Tensor, group_mean: Tensor, k: float | Tensor) -> Tensor:
    """DynaSmooth: p_hat = p_y - f (p_y - mean), f = (k (sqrt p_y - sqrt mean))^2 (``losses/ffds.py:115-125``)."""
    pull = (k * (true.sqrt() - group_mean.sqrt())) ** 2
    return true - pull * (true - group_mean)


class ClampedCrossEntropy:
    """-sum_j Q_j log p_j of a batch and its gradient, p being softmax(z) clamped, Q_y = 1 - epsilon and Q_j = epsilon / (K - 1) elsewhere.

    Computed once for the loss, its focusing factor and the group sums (`LatestEntropy`). Temporaries lie in the memory order of the logits.

    Args:
        logits: z (..., B, K).
        labels: broadcastable to (..., B).
        epsilon: a float or broadcastable to (..., B).

    Attributes:
        true: p_y (..., B).
    """

    @torch.no_grad()
    def __init__(self, logits: Tensor, labels: Tensor, epsilon: float | Tensor) -> None:
        self._of, self._writes = (logits.detach(), labels), _writes(logits, labels)
        self._index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
        self._every = epsilon / (logits.shape[-1] - 1)
        self._more = 1 - epsilon - self._every  # for the true class, on top of what every class has
        below = logits - logits.amax(-1, keepdim=True)
        self._exponentials = below.exp()
        self._total = self._exponentials.sum(-1, keepdim=True)
        log_total = self._total.log()
        clamped = below.clamp(log_total + math.log(LOWEST), log_total + math.log(HIGHEST))
        self._within = below.eq_(clamped)  # the derivative of clamp: 1 within the bounds and on them, else 0
        self._sum_of_logs = clamped.sum(-1).sub_(log_total.squeeze(-1), alpha=logits.shape[-1])
        self._log_true = clamped.gather(-1, self._index).sub_(log_total).squeeze(-1)
        self.true = self._log_true.exp()

    def is_of(self, logits: Tensor, labels: Tensor) -> bool:
        """Whether the object was made from these tensors, and none of them has been written to since."""
        same = self._of[0].is_set_to(logits) and self._of[1].is_set_to(labels)
        return same and self._writes is not None and self._writes == _writes(logits, labels)

    @property
    def losses(self) -> Tensor:
        """The loss of each sample (..., B)."""
        return -(self._every * self._sum_of_logs + self._more * self._log_true)

    def residual(self, slope: Tensor) -> Tensor:
        """``slope`` (..., B) times the gradient for the logits (..., B, K): p_k sum_j Q_j m_j - Q_k m_k, m_j being 1 where p_j is not clamped and else 0."""
        every = (slope * self._every).unsqueeze(-1)
        true = (slope * self._more).unsqueeze(-1) * self._within.gather(-1, self._index)
        of_softmax = (every * self._within.sum(-1, keepdim=True) + true) / self._total
        return torch.addcmul(self._within * -every, self._exponentials, of_softmax).scatter_add_(-1, self._index, -true)

    def losses_of(self, logits: Tensor) -> Tensor:
        """``losses`` with their gradient for ``logits``, the logits that the object was made from."""
        return _Losses.apply(logits, self)


class LatestEntropy:
    """The ``ClampedCrossEntropy`` of logits and labels, computed once for the loss, the focusing factor and the group sums of a step."""

    def __init__(self) -> None:
        self._latest: ClampedCrossEntropy | None = None

    def __call__(self, logits: Tensor, labels: Tensor, epsilon: float | Tensor) -> ClampedCrossEntropy:
        """The clamped cross-entropy; that of the last call where logits and labels are the same."""
        if self._latest is None or not self._latest.is_of(logits, labels):
            self._latest = ClampedCrossEntropy(logits, labels, epsilon)
        return self._latest

    def forget(self) -> None:
        """Release the memory of a step."""
        self._latest = None


class _Losses(torch.autograd.Function):
    """One node of autograd's."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, entropy: ClampedCrossEntropy) -> Tensor:
        ctx.entropy = entropy
        return entropy.losses

    backward: Any = staticmethod(once_differentiable(lambda ctx, outward: (ctx.entropy.residual(outward), None)))


def _writes(*tensors: Tensor) -> list[int] | None:
    """Number of in-place writes to each tensor; none where torch does not count them."""
    return None if any(tensor.is_inference() for tensor in tensors) else [tensor._version for tensor in tensors]


def add_by_group(sums: Tensor, counts: Tensor, values: Tensor, labels: Tensor, group_of_class: Tensor) -> None:
    """Add ``values`` (..., B) and their number to the group sums (..., M), in place."""
    groups = per_class(group_of_class, labels).expand(values.shape)
    sums.scatter_add_(-1, groups, values.to(sums.dtype))
    counts.scatter_add_(-1, groups, torch.ones_like(values, dtype=counts.dtype))


def exchange_means(means: Tensor, sums: Tensor, counts: Tensor) -> None:
    """Put the means of ``sums`` over ``counts`` (..., M) into ``means``, in place, and begin anew; an empty group keeps its own, or takes the overall mean."""
    overall = sums.sum(-1, keepdim=True) / counts.sum(-1, keepdim=True)
    fallback = torch.where(means.isnan(), overall, means)
    means.copy_(torch.where(counts > 0, sums / counts.clamp_min(1), fallback))
    sums.zero_()
    counts.zero_()
