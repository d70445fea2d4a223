"""Class weights and tables per class."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_number_weights(counts: Tensor, beta: float | Tensor) -> Tensor:
    """(1 - beta) / (1 - beta^n) per class, not normalised: (K,), or (H, K) for beta (H, 1).

    Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, eq. 4. A class without samples counts as one sample.
    """
    beta = torch.as_tensor(beta, dtype=torch.float64, device=counts.device)
    return (1 - beta) / (1 - beta ** counts.clamp_min(1))


def inverse_power_weights(counts: Tensor, power: float | Tensor) -> Tensor:
    """n^-power per class scaled to sum to K: (K,), or (H, K) for power (H, 1). A class without samples counts as one sample."""
    return sum_to_classes(counts.clamp_min(1) ** -torch.as_tensor(power, dtype=counts.dtype, device=counts.device))


def sum_to_classes(weights: Tensor) -> Tensor:
    """The weights scaled to sum to K, as kaidic/LDAM-DRW ``cifar_train.py`` does."""
    return weights / weights.sum(-1, keepdim=True) * weights.shape[-1]


def log_prior(counts: Tensor, tau: float | Tensor = 1.0) -> Tensor:
    """log(pi^tau + 1e-12), pi the training frequencies: (K,), or (H, K) for tau (H, 1).

    The form of google-research/logit_adjustment; a class without samples counts as one, or it would win every image.
    """
    prior = counts.clamp_min(1) / counts.sum()
    return torch.log(prior ** torch.as_tensor(tau, dtype=counts.dtype, device=counts.device) + 1e-12)


def over_samples(table: Tensor) -> Tensor:
    """A table per class (K,) or (H, K) as it broadcasts over logits (..., B, K)."""
    return table if table.dim() == 1 else table.unsqueeze(-2)
