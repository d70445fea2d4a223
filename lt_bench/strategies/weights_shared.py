"""Class weights that several re-weighting strategies use."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_number_weights(counts: Tensor, beta: float | Tensor) -> Tensor:
    """(1 - beta) / (1 - beta^n) per class, not normalised: (K,), or (H, K) for beta (H, 1).

    Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, eq. 4. A class without samples counts as one sample.
    """
    beta = torch.as_tensor(beta, dtype=torch.float64, device=counts.device)
    return (1 - beta) / (1 - beta ** counts.clamp_min(1))


def sum_to_classes(weights: Tensor) -> Tensor:
    """The weights scaled to sum to K, as kaidic/LDAM-DRW ``cifar_train.py`` does."""
    return weights / weights.sum(-1, keepdim=True) * weights.shape[-1]


def log_prior(counts: Tensor, tau: float | Tensor = 1.0) -> Tensor:
    """log(pi^tau + 1e-12), pi the training frequencies: (K,), or (H, K) for tau (H, 1).

    The form of google-research/logit_adjustment; the 1e-12 keeps a class without samples finite.
    """
    prior = counts / counts.sum()
    return torch.log(prior ** torch.as_tensor(tau, dtype=counts.dtype, device=counts.device) + 1e-12)
