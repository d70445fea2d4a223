"""Label smoothing: its conventions, all turned into torch's epsilon (q_y = 1 - epsilon + epsilon / K, epsilon / K elsewhere)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lt_bench.core.errors import UserError

Convention = Literal["torch", "others"]


def torch_epsilon(epsilon: float | Tensor, convention: Convention, K: int) -> float | Tensor:
    """Torch's epsilon of an epsilon whose mass goes to all classes (``torch``) or to the K - 1 other ones (``others``)."""
    return epsilon if convention == "torch" else epsilon * K / (K - 1)


def epsilon_of_target(name: str, epsilon: float | Tensor, true_probability: float | Tensor, gap: float | Tensor, K: int) -> float | Tensor:
    """Torch's epsilon from an epsilon, a true probability or a logit gap; 0 means not given.

    Args:
        name: of the strategy, for errors.
        epsilon: used where neither of the others is given.
        true_probability: q_y, so epsilon = (1 - q_y) K / (K - 1).
        gap: log(q_y / q_k), so epsilon = K / (K - 1 + exp(gap)).
        K: number of classes.

    Returns:
        A number, or (H, 1) where one of them differs between the heads of a stack.

    Raises:
        UserError: both are given, or q_y is below 1 / K.
    """
    given, probability, logit_gap = (torch.as_tensor(value, dtype=torch.float64) for value in (epsilon, true_probability, gap))
    if bool(((probability > 0) & (logit_gap > 0)).any()):
        raise UserError(f"{name}: true_probability and gap are both given, and each sets the target; leave one at 0")
    if bool(((probability > 0) & (probability < 1 / K)).any()):
        raise UserError(f"{name}.true_probability is below 1 / K = {1 / K:.4g}, the uniform target; expected a number from there to 1")
    from_probability, from_gap = (1 - probability) * K / (K - 1), K / (K - 1 + logit_gap.exp())
    chosen = torch.where(probability > 0, from_probability, torch.where(logit_gap > 0, from_gap, given))
    return chosen if chosen.dim() else float(chosen)
