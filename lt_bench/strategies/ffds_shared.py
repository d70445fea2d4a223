"""FFDS: the focusing loss that FFDS and D-FFDS share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lt_bench.errors import UserError
from lt_bench.strategies.base import per_class
from lt_bench.strategies.weights_shared import effective_number_weights, sum_to_classes

Curve = Literal["linear", "convex", "concave"]
WeightScale = Literal["classes", "paper", "code"]


def frequency_groups(counts: Tensor, groups: int) -> Tensor:
    """Group number of every class (K,): ``groups`` runs of equal length over the classes from largest to smallest, the last taking the remainder."""
    K = counts.numel()
    ends = torch.tensor([K * (g + 1) // groups for g in range(groups)])
    rank = torch.empty(K, dtype=torch.long)
    rank[torch.argsort(counts.cpu(), descending=True, stable=True)] = torch.arange(K)
    return torch.searchsorted(ends, rank, right=True)


def check_focus(strategy: str, low: float | Tensor, high: float | Tensor, follows_size: bool) -> None:
    """Refuse a gamma that falls with class size, and two of them where it does not follow class size.

    Raises:
        UserError: naming both values.
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
    spread = counts.max() - counts.min()
    x = (counts - counts.min()) / spread if spread > 0 else torch.zeros_like(counts)
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


def true_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """softmax(z)_y per sample, clamped to [1e-6, 1 - 1e-6] as the official code does (``losses/ffds.py:62-66``)."""
    index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    return logits.log_softmax(-1).gather(-1, index).squeeze(-1).exp().clamp(1e-6, 1 - 1e-6)


def clamped_cross_entropy(logits: Tensor, labels: Tensor, epsilon: float | Tensor) -> Tensor:
    """-sum_j Q_j log p_j with p clamped as above, Q_y = 1 - epsilon and epsilon / (K - 1) elsewhere."""
    log_p = logits.softmax(-1).clamp(1e-6, 1 - 1e-6).log()
    true = log_p.gather(-1, labels.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)
    others = (log_p.sum(-1) - true) / (logits.shape[-1] - 1)
    return -((1 - epsilon) * true + epsilon * others)


def add_by_group(sums: Tensor, counts: Tensor, values: Tensor, labels: Tensor, group_of_class: Tensor) -> None:
    """Add ``values`` (H, B) and their number to the group sums (H, M), in place."""
    groups = per_class(group_of_class, labels).expand(values.shape)
    sums.scatter_add_(1, groups, values.to(sums.dtype))
    counts.scatter_add_(1, groups, torch.ones_like(values, dtype=counts.dtype))
